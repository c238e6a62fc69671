use std::path::PathBuf;

use ipnet::IpNet;

use super::parse;
use super::secret::Secret;
use crate::pattern::Patterns;

/// Who may do what.
#[derive(Clone, Debug, clap::Args)]
pub struct Access {
    /// The secret that tokens are signed with (HS256; 32 bytes or more). With it, `JWT_PUBLIC_KEY_FILE` or
    /// `JWT_JWKS_FILE`, a connection needs a token; without any of them everybody may read. Read from the `JWT_SECRET`
    /// environment variable.
    #[arg(long, env = "JWT_SECRET", global = true, value_parser = Secret::parse, hide_env_values = true)]
    jwt_secret: Option<Secret>,

    /// A file with the public key of tokens, in PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA). Read again when it
    /// changes. Read from the `JWT_PUBLIC_KEY_FILE` environment variable.
    #[arg(long, env = "JWT_PUBLIC_KEY_FILE", global = true, value_parser = parse::file, value_name = "FILE")]
    jwt_public_key_file: Option<PathBuf>,

    /// A file with public keys of tokens, as a JSON Web Key Set; a token says by `kid` which one is its own. Read again
    /// when it changes. Read from the `JWT_JWKS_FILE` environment variable.
    #[arg(long, env = "JWT_JWKS_FILE", global = true, value_parser = parse::file, value_name = "FILE")]
    jwt_jwks_file: Option<PathBuf>,

    /// For whom a token has to be made: one of these, with commas between, is in its `aud`. Read from the
    /// `JWT_AUDIENCE` environment variable.
    #[arg(long, env = "JWT_AUDIENCE", global = true, default_value = "", value_parser = parse::names)]
    pub jwt_audience: Names,

    /// By whom a token has to be made: its `iss` is one of these, with commas between. Read from the `JWT_ISSUER`
    /// environment variable.
    #[arg(long, env = "JWT_ISSUER", global = true, default_value = "", value_parser = parse::names)]
    pub jwt_issuer: Names,

    /// How far the clock of those who make tokens may be off, in ms, 0 to 300000: for `exp` and `nbf`. Read from the
    /// `JWT_LEEWAY` environment variable.
    #[arg(long = "jwt-leeway", env = "JWT_LEEWAY", global = true, default_value = "0",
          value_parser = parse::range(0, 300_000), value_name = "MS")]
    pub jwt_leeway_ms: u64,

    /// Whether a 2.x client may have its token in the address of its connection (`?token=`), where proxies may log it:
    /// it has no other way from a browser. Read from the `TOKEN_IN_QUERY` environment variable.
    #[arg(long, env = "TOKEN_IN_QUERY", global = true, default_value = "true", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub token_in_query: bool,

    /// How long before its token expires a connection gets `token-expiring`, in ms, 0 (never) to 3600000. Read from the
    /// `TOKEN_EXPIRY_NOTICE` environment variable.
    #[arg(long = "token-expiry-notice", env = "TOKEN_EXPIRY_NOTICE", global = true, default_value = "60000",
          value_parser = parse::range(0, 3_600_000), value_name = "MS")]
    pub token_expiry_notice_ms: u64,

    /// Whether who has no token may connect as a guest: true or false. Read from the `ALLOW_ANONYMOUS` environment
    /// variable.
    #[arg(long, env = "ALLOW_ANONYMOUS", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub allow_anonymous: bool,

    /// What guests get: symbols, and patterns with `*`, with commas between. Read from the `ANONYMOUS_SYMBOLS`
    /// environment variable.
    #[arg(long, env = "ANONYMOUS_SYMBOLS", global = true, default_value = "*", value_parser = parse::patterns)]
    pub anonymous_symbols: Patterns,

    /// In which rooms guests may be, in the same form; none where it is empty. Read from the `ANONYMOUS_ROOMS`
    /// environment variable.
    #[arg(long, env = "ANONYMOUS_ROOMS", global = true, default_value = "", value_parser = parse::patterns)]
    pub anonymous_rooms: Patterns,

    /// The key for `POST /api/...`, sent as `X-API-Key`: it may do everything there. Without it and `API_KEYS_FILE`,
    /// only who calls from this machine may. Read from the `API_KEY` environment variable.
    #[arg(long, env = "API_KEY", global = true, value_parser = Secret::parse, hide_env_values = true)]
    api_key: Option<Secret>,

    /// A file with keys that may do less, as JSON: `[{"name", "sha256", "scopes"}]`, with the scopes `publish`,
    /// `message` and `admin`. `tickcast key` makes an entry. Read again when it changes. Read from the `API_KEYS_FILE`
    /// environment variable.
    #[arg(long, env = "API_KEYS_FILE", global = true, value_parser = parse::file, value_name = "FILE")]
    api_keys_file: Option<PathBuf>,

    /// true: without keys, everybody who reaches the port may publish, send messages and disconnect others. For demos.
    /// Read from the `API_OPEN` environment variable.
    #[arg(long, env = "API_OPEN", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub api_open: bool,

    /// Proxies whose `X-Forwarded-For` is believed: addresses and networks such as `10.0.0.0/8`, with commas between.
    /// Read from the `TRUSTED_PROXIES` environment variable.
    #[arg(long, env = "TRUSTED_PROXIES", global = true, default_value = "", value_parser = parse::networks)]
    pub trusted_proxies: Networks,
}

/// Names in the order given; none for those that were not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

/// Networks in the order given; an address is a network of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

/// How tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKeys {
    /// By this secret (HS256).
    Secret(Secret),
    /// By the public key in this file (PEM).
    PublicKey(PathBuf),
    /// By the public keys in this file (JWKS).
    Jwks(PathBuf),
}

/// Shorter secrets can be guessed from one token (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

impl Access {
    /// What cannot be seen in one value alone.
    pub(super) fn validate(&self) -> Result<(), String> {
        let given = [
            ("JWT_SECRET", self.jwt_secret().is_some()),
            ("JWT_PUBLIC_KEY_FILE", set(self.jwt_public_key_file.as_ref()).is_some()),
            ("JWT_JWKS_FILE", set(self.jwt_jwks_file.as_ref()).is_some()),
        ];
        let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if given.len() > 1 {
            return Err(format!("{} are set: only one of them is allowed", given.join(" and ")));
        }
        Ok(())
    }

    /// What the log should say about these settings.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let tokens = self.token_keys();
        if let Some(secret) = self.jwt_secret().filter(|secret| secret.reveal().len() < SECRET_BYTES) {
            let bytes = secret.reveal().len();
            remarks.push(format!(
                "JWT_SECRET has {bytes} bytes: with fewer than {SECRET_BYTES} it can be guessed from a token"
            ));
        }
        if tokens.is_none() && self.allow_anonymous {
            remarks.push("ALLOW_ANONYMOUS changes nothing: without JWT_SECRET, JWT_PUBLIC_KEY_FILE or JWT_JWKS_FILE everybody may read".to_owned());
        }
        if self.api_open {
            remarks.push(if self.has_api_keys() {
                "API_OPEN changes nothing: there are keys for /api".to_owned()
            } else {
                "API_OPEN=true: everybody who reaches this port may publish, send messages and disconnect others"
                    .to_owned()
            });
        }
        remarks
    }

    /// How tokens are verified; none where a connection needs none.
    pub fn token_keys(&self) -> Option<TokenKeys> {
        self.jwt_secret()
            .cloned()
            .map(TokenKeys::Secret)
            .or_else(|| set(self.jwt_public_key_file.as_ref()).cloned().map(TokenKeys::PublicKey))
            .or_else(|| set(self.jwt_jwks_file.as_ref()).cloned().map(TokenKeys::Jwks))
    }

    /// The secret of tokens.
    pub fn jwt_secret(&self) -> Option<&Secret> {
        self.jwt_secret.as_ref().filter(|secret| !secret.reveal().is_empty())
    }

    /// The key that may do everything.
    pub fn api_key(&self) -> Option<&Secret> {
        self.api_key.as_ref().filter(|key| !key.reveal().is_empty())
    }

    /// Where the other keys are.
    pub fn api_keys_file(&self) -> Option<&PathBuf> {
        set(self.api_keys_file.as_ref())
    }

    /// True where `/api` needs a key.
    pub fn has_api_keys(&self) -> bool {
        self.api_key().is_some() || self.api_keys_file().is_some()
    }
}

// Files that others wrote have these empty for «none».
fn set(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}
