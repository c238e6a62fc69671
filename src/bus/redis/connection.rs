use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ReconnectPolicy, ServerConfig};
use fred::types::{Builder, InfoKind, RespVersion};
use fred_socket2::TcpKeepalive;

use super::Scripts;
use crate::config::RedisAddress;

/// The oldest Redis that has what is needed: sharded pub/sub, for what crosses replicas beside the ticks.
const OLDEST_MAJOR: u32 = 7;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one command may take. A lease must outlive one that fails.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(1000);

/// The pauses between attempts to connect again, in ms. Messages between replicas are lost until then.
const RECONNECT_MS: (u32, u32) = (50, 500);

/// How long what was sent may stay unacknowledged. Where packets are swallowed, TCP waits twice as long before each attempt,
/// and would notice as late as that when they pass again: a new connection does at once.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(2);

/// After how long, and how often, a connection on which nothing is said is asked whether it still stands.
const KEPT_ALIVE: Duration = Duration::from_secs(1);

/// Commands that may wait for a connection.
const COMMANDS_IN_FLIGHT: usize = 1024;

/// Where Redis is, and how to be let in. Its text has no password in it.
#[derive(Clone)]
pub struct RedisSettings {
    config: Config,
    shown: String,
}

impl RedisSettings {
    /// For this address.
    ///
    /// # Errors
    /// It is not one that can be used.
    pub fn new(address: &RedisAddress) -> Result<Self, Error> {
        match address {
            RedisAddress::Url(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
                // What follows the `?` may have passwords in it, too.
                let rest = rest.split('?').next().unwrap_or(rest);
                let shown = format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest));
                Ok(Self { config: Config::from_url(url)?, shown })
            }
            RedisAddress::Parts { host, port, username, password } => {
                let config = Config {
                    server: ServerConfig::new_centralized(host, *port),
                    username: username.clone(),
                    password: password.clone(),
                    ..Config::default()
                };
                Ok(Self { config, shown: format!("redis://{host}:{port}") })
            }
        }
    }

    /// What to build a connection from. It comes back by itself, for ever, and keeps no command for long.
    pub fn builder(&self) -> Builder {
        let mut config = self.config.clone();
        // What the adapter's sharded pub/sub needs.
        config.version = RespVersion::RESP3;
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECT_TIMEOUT;
                connection.internal_command_timeout = CONNECT_TIMEOUT;
                // A password may be put right while we wait.
                connection.reconnect_on_auth_error = true;
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = COMMANDS_IN_FLIGHT;
                connection.tcp.nodelay = Some(true);
                connection.tcp.keepalive = Some(TcpKeepalive::new().with_time(KEPT_ALIVE).with_interval(KEPT_ALIVE));
                #[cfg(any(target_os = "android", target_os = "linux"))]
                {
                    connection.tcp.user_timeout = Some(UNACKNOWLEDGED);
                }
            })
            .with_performance_config(|performance| performance.default_command_timeout = COMMAND_TIMEOUT)
            .set_policy(ReconnectPolicy::new_exponential(0, RECONNECT_MS.0, RECONNECT_MS.1, 2));
        builder
    }
}

impl std::fmt::Display for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RedisSettings").field(&self.shown).finish()
    }
}

/// The connections of the bus, with what runs on them.
#[derive(Clone, Debug)]
pub(in crate::bus) struct Connections {
    /// For short commands.
    pub(super) commands: Client,
    /// For reading the log: a blocked read holds up what comes after it.
    pub(super) reads: Client,
    /// For reading what other services publish, in the same way.
    pub(super) inputs: Client,
    /// For reading the log of changed records, in the same way; connected where there are any.
    pub(super) records: Client,
    pub(super) scripts: Arc<Scripts>,
}

impl Connections {
    /// Begins to connect, and goes on trying for ever.
    pub(in crate::bus) fn open(settings: &RedisSettings) -> Result<Self, Error> {
        let builder = settings.builder();
        let connections = Self {
            commands: builder.build()?,
            reads: builder.build()?,
            inputs: builder.build()?,
            records: builder.build()?,
            scripts: Arc::new(Scripts::new()),
        };
        // The tasks end with the clients.
        connections.commands.connect();
        connections.reads.connect();
        connections.inputs.connect();
        Ok(connections)
    }

    /// Waits until those stand that the log needs.
    pub(in crate::bus) async fn wait(&self) -> Result<(), Error> {
        self.commands.wait_for_connect().await?;
        self.reads.wait_for_connect().await
    }

    /// The clients for short commands.
    pub(in crate::bus) fn commands(&self) -> &Client {
        &self.commands
    }

    pub(in crate::bus) async fn close(&self) {
        self.commands.quit().await.ok();
        self.reads.quit().await.ok();
        self.inputs.quit().await.ok();
        if self.records.is_connected() {
            self.records.quit().await.ok();
        }
    }
}

/// Why a Redis cannot be the bus.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It is too old.
    #[error("Redis {found} is too old: {OLDEST_MAJOR}.0 or newer is needed (it has sharded pub/sub)")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// It did not say.
    #[error(transparent)]
    Redis(#[from] Error),
}

/// Makes sure that the server is new enough.
pub(in crate::bus) async fn check_version(client: &Client) -> Result<(), VersionError> {
    let info: String = client.info(Some(InfoKind::Server)).await?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("0").trim();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    if major < OLDEST_MAJOR {
        return Err(VersionError::TooOld { found: version.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let url = |url: &str| RedisSettings::new(&RedisAddress::Url(url.into())).unwrap();
        let settings = url("redis://user:secret@host:6380/2");
        assert_eq!(settings.to_string(), "redis://host:6380/2");
        assert!(!format!("{settings:?}").contains("secret"));
        let sentinel =
            url("redis-sentinel://u:secret@host:26379/0?sentinelServiceName=x&sentinelPassword=secret&node=b:1");
        assert_eq!(sentinel.to_string(), "redis-sentinel://host:26379/0");
        assert!(sentinel.config.server.is_sentinel());
        assert!(url("redis-cluster://host:1?node=b:2").config.server.is_clustered());
        for secure in ["rediss://host", "rediss-cluster://host:1", "rediss-sentinel://host:1?sentinelServiceName=x"] {
            assert!(url(secure).config.tls.is_some(), "{secure}");
        }
    }
}
