use super::Names;
use super::parse;
use super::secret::Secret;
use crate::wire::{from_client, short};

/// Events of the contract that a back end may carry out; the others are this server's own business.
const FOR_BACKENDS: [&str; 4] = [from_client::JOIN, from_client::LEAVE, from_client::CHAT, from_client::SEND_MESSAGE];

/// The longest prefix and name of a channel, in bytes.
const MAX_CHANNEL_BYTES: usize = 128;

/// Rooms, and back ends.
#[derive(Clone, Debug, clap::Args)]
pub struct Messaging {
    /// Whether everybody is in the room `chat` from the start: true or false. Read from the `CHAT_AUTO_JOIN` environment
    /// variable.
    #[arg(long, env = "CHAT_AUTO_JOIN", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub chat_auto_join: bool,

    /// Whether everybody in a room is told who is in it, on each change: true or false. Read from the `PRESENCE`
    /// environment variable.
    #[arg(long, env = "PRESENCE", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub presence: bool,

    /// What the channels in Redis begin with, through which Node's @socket.io/redis-emitter reaches our clients (its
    /// `key`); empty: nobody is listened to. Read from the `EMITTER_PREFIX` environment variable.
    #[arg(long, env = "EMITTER_PREFIX", global = true, default_value = "socket.io", value_parser = channel)]
    pub emitter_prefix: String,

    /// The channel in Redis through which python-socketio's write-only manager reaches our clients; empty: nobody is
    /// listened to. Read from the `EMITTER_CHANNEL` environment variable.
    #[arg(long, env = "EMITTER_CHANNEL", global = true, default_value = "socketio", value_parser = channel)]
    pub emitter_channel: String,

    /// The back end that gets the events of clients that we do not know ourselves: `http://` or `https://`. Read from the
    /// `BACKEND_URL` environment variable.
    #[arg(long, env = "BACKEND_URL", global = true, value_parser = url, hide_env_values = true)]
    backend_url: Option<Secret>,

    /// The secret with which we sign what the back end gets (HMAC-SHA256). Read from the `BACKEND_SECRET` environment
    /// variable.
    #[arg(long, env = "BACKEND_SECRET", global = true, value_parser = Secret::parse, hide_env_values = true)]
    backend_secret: Option<Secret>,

    /// Events that we do know, and that the back end gets instead, with commas between: join, leave, chat or
    /// send_message. Read from the `BACKEND_EVENTS` environment variable.
    #[arg(long, env = "BACKEND_EVENTS", global = true, default_value = "", value_parser = parse::names)]
    pub backend_events: Names,

    /// Whether the back end is told who connects and disconnects: true or false. Read from the `BACKEND_ANNOUNCE`
    /// environment variable.
    #[arg(long, env = "BACKEND_ANNOUNCE", global = true, default_value = "false", value_parser = parse::boolean,
          value_name = "BOOL", action = clap::ArgAction::Set)]
    pub backend_announce: bool,

    /// How long the back end may take to answer, each time, in ms, 10 to 60000. Read from the `BACKEND_TIMEOUT`
    /// environment variable.
    #[arg(long = "backend-timeout", env = "BACKEND_TIMEOUT", global = true, default_value = "5000",
          value_parser = parse::range(10, 60_000), value_name = "MS")]
    pub backend_timeout_ms: u64,

    /// How many times the back end is asked again that does not answer, 0 to 20. Read from the `BACKEND_RETRIES`
    /// environment variable.
    #[arg(long, env = "BACKEND_RETRIES", global = true, default_value = "3", value_parser = parse::range(0, 20))]
    pub backend_retries: u64,

    /// How many events may wait for the back end, 1 to 100000; one more is answered with `unavailable`. Read from the
    /// `BACKEND_QUEUE` environment variable.
    #[arg(long, env = "BACKEND_QUEUE", global = true, default_value = "1024", value_parser = parse::range(1, 100_000))]
    pub backend_queue: u64,
}

impl Messaging {
    /// Where the back end is; none where there is none.
    pub fn backend_url(&self) -> Option<&Secret> {
        // Files that others wrote have it empty for «none».
        self.backend_url.as_ref().filter(|url| !url.reveal().is_empty())
    }

    /// What is signed with.
    pub fn backend_secret(&self) -> Option<&Secret> {
        self.backend_secret.as_ref().filter(|secret| !secret.reveal().is_empty())
    }

    /// What cannot be seen in one value alone.
    pub(super) fn validate(&self) -> Result<(), String> {
        let ours = |name: &&String| from_client::ALL.contains(&name.as_str()) && !FOR_BACKENDS.contains(&name.as_str());
        match self.backend_events.0.iter().find(ours) {
            None => Ok(()),
            Some(name) => Err(format!(
                "BACKEND_EVENTS (--backend-events): \"{}\" is not for back ends: must be of {}, or an event of your own",
                short(name),
                FOR_BACKENDS.join(", ")
            )),
        }
    }

    /// What the log should say about these settings.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.backend_url().is_none() {
            let given = [
                ("BACKEND_SECRET", self.backend_secret().is_some()),
                ("BACKEND_EVENTS", !self.backend_events.0.is_empty()),
                ("BACKEND_ANNOUNCE", self.backend_announce),
            ];
            let given = given.into_iter().filter(|(_, given)| *given);
            remarks.extend(given.map(|(name, _)| format!("{name} changes nothing: there is no BACKEND_URL")));
        } else if self.backend_secret().is_none() {
            remarks.push("what is posted to BACKEND_URL is not signed: BACKEND_SECRET changes that".to_owned());
        }
        remarks
    }
}

/// An address, in which there may be a password.
fn url(text: &str) -> Result<Secret, String> {
    let known = |url: &url::Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    if text.is_empty() || url::Url::parse(text).is_ok_and(|url| known(&url)) {
        return Secret::parse(text);
    }
    Err("is not allowed: must be http://host/path or https://host/path".into())
}

fn channel(text: &str) -> Result<String, String> {
    if text.len() > MAX_CHANNEL_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "is not allowed: must have at most {MAX_CHANNEL_BYTES} bytes, none of them a space or a control character"
        ));
    }
    Ok(text.to_owned())
}
