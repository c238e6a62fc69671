//! The binary's settings, from the environment, flags and `.env`.

use std::process::{Command, Output};

fn run(args: &[&str], env: &[(&str, &str)], folder: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_config_prints_the_settings_and_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "PORT=4000\nUPDATE_INTERVAL=100\n").unwrap();
    let env = [("UPDATE_INTERVAL", "250"), ("CORS_ORIGIN", "https://a.example")];
    let output = run(&["check-config", "--app-id", "app1"], &env, folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<Vec<&str>> = text(&output.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    for (setting, origin) in [
        ("PORT=4000", "environment"),
        ("UPDATE_INTERVAL=250", "environment"),
        ("CORS_ORIGIN=https://a.example", "environment"),
        ("APP_ID=app1", "flag"),
        ("TICK_EVENT=tick", "default"),
        ("SIMULATOR_SEED=", "not set"),
    ] {
        let mut expected = vec![setting, "#"];
        expected.extend(origin.split(' '));
        assert!(lines.contains(&expected), "{setting} # {origin} is not in\n{}", text(&output.stdout));
    }
}

#[test]
fn check_config_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("REDIS_URL", "redis://user:hunter2@host"),
        ("REDIS_PASSWORD", "hunter2"),
        ("JWT_SECRET", "hunter2"),
        ("API_KEY", "hunter2"),
        ("BACKEND_URL", "http://user:hunter2@host"),
        ("BACKEND_SECRET", "hunter2"),
    ];
    for (args, code) in [
        (&["check-config"][..], 0),
        (&["check-config", "--redis-url", "hunter2"], 2),
        (&["check-config", "--jwt-secret", "hunter2", "--port", "********"], 2),
    ] {
        let output = run(args, &env, folder.path());
        assert_eq!(output.status.code(), Some(code));
        let said = text(&output.stdout).to_owned() + text(&output.stderr);
        assert!(said.contains("********") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_wrong_value_names_itself_and_never_starts_a_server() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, allowed) in [
        ("PORT", "http", "must be a whole number from 0 to 65535"),
        ("HOST", "example.com", "must be an IPv4 or IPv6 address"),
        ("SYMBOLS", "BTC;ETH", "1 to 32 ASCII letters"),
        ("UPDATE_INTERVAL", "0", "from 1 to 3600000"),
        ("SOURCES", "bitfinex", "must be simulator, binance, coinbase, kraken, http, redis or replay:FILE"),
        ("SOURCES", "replay:/nowhere", "cannot be played"),
        ("SYMBOLS", "BTC-USD@coinbase", "coinbase must be in SOURCES"),
        ("KRAKEN_URL", "https://ws.kraken.com", "must be ws://"),
        ("KRAKEN_REST_URL", "wss://api.kraken.com", "must be https://"),
        ("DATA_DIR", "/dev/null", "\"/dev/null\" cannot be written"),
        ("BINANCE_CHANNEL", "depth", "must be ticker, miniTicker or aggTrade"),
        ("EXCHANGE_RECONNECT", "0", "from 1 to 86400"),
        ("MAX_JUMP", "much", "must be a number of percent"),
        ("STALE_AFTER", "1", "from 100 to 86400000, or 0"),
        ("REPLAY_SPEED", "0", "must be a number from 0.01 to 10000, or max"),
        ("PUBLISHED_SYMBOLS", "A,BTC,C", "must be either made by a source or published"),
        ("ALLOW_NEW_SYMBOLS", "2", "must be true or false"),
        ("PUBLISH_RATE", "0", "from 1 to 1000000"),
        ("ROLE", "both", "must be front, back or all"),
        ("ROLE", "back", "must have a Redis"),
        ("CORS_ORIGIN", "a.example", "must be * or a list of origins"),
        ("APP_ID", "", "1 to 64 letters"),
        ("LOG_LEVEL", "loud", "must be error, warn, info, debug or trace"),
        ("LOG_FORMAT", "xml", "must be text or json"),
        ("WORKERS", "-1", "from 1 to 1024"),
        ("CLUSTER_ENABLED", "perhaps", "must be true or false"),
        ("TICK_EVENT", "disconnect", "must not be one of"),
        ("BATCH_EVENT", "tick", "different names"),
        ("DEFAULT_MODE", "all", "must be tick, batch or both"),
        ("PING_INTERVAL", "25s", "from 100 to 3600000"),
        ("PING_TIMEOUT", "", "from 100 to 3600000"),
        ("MAX_PAYLOAD", "1MB", "from 1000 to 100000000"),
        ("ATTACHMENTS_TIMEOUT", "0", "from 100 to 600000"),
        ("MAX_MESSAGES_PER_SECOND", "-1", "from 0 to 1000000"),
        ("MAX_MESSAGES_AT_ONCE", "0", "from 1 to 1000000"),
        ("MAX_CHATS_PER_SECOND", "many", "from 0 to 1000000"),
        ("ABUSE_FACTOR", "1001", "from 0 to 1000"),
        ("MAX_SUBSCRIPTIONS", "*", "from 0 to 1000000"),
        ("MAX_SYMBOLS_PER_REQUEST", "1001", "from 1 to 1000"),
        ("MAX_CONNECTIONS", "10k", "from 0 to 10000000"),
        ("MAX_CONNECTIONS_PER_IP", "none", "from 0 to 10000000"),
        ("MAX_CONNECTS_PER_SECOND", "0.5", "from 0 to 1000000"),
        ("MAX_TCP_CONNECTIONS", "99999999999", "from 0 to 10000000"),
        ("MAX_HTTP_REQUESTS_PER_SECOND", "1e3", "from 0 to 1000000"),
        ("CONNECT_TIMEOUT", "0", "from 100 to 600000"),
        ("HTTP_HEADER_TIMEOUT", "10s", "from 100 to 600000"),
        ("HTTP_BODY_TIMEOUT", "99", "from 100 to 600000"),
        ("HTTP_IDLE_TIMEOUT", "", "from 100 to 3600000"),
        ("SOCKET_PATH", "ws", "must begin with /"),
        ("BASE_PATH", "feed", "must begin with /"),
        ("HISTORY_SECONDS", "1e3", "from 0 to 86400"),
        ("DRAIN_DEADLINE", "0", "from 100 to 600000"),
        ("SIMULATOR_SEED", "lucky", "must be a whole number"),
        ("JWT_LEEWAY", "1m", "from 0 to 300000"),
        ("TOKEN_IN_QUERY", "maybe", "must be true or false"),
        ("TOKEN_EXPIRY_NOTICE", "-1", "from 0 to 3600000"),
        ("ALLOW_ANONYMOUS", "guests", "must be true or false"),
        ("ANONYMOUS_SYMBOLS", "BTC,,ETH", "1 to 128 bytes"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "must be addresses and networks"),
        ("API_OPEN", "?", "must be true or false"),
        ("LOG_TO_FILE", "yes please", "must be true or false"),
        ("LOG_MAX_SIZE", "10mb", "from 1k to 100g"),
        ("LOG_MAX_FILES", "0", "from 1 to 1000"),
        ("JWT_PUBLIC_KEY_FILE", "/nowhere/key.pem", "cannot be read"),
        ("JWT_JWKS_FILE", "/etc/hostname", "is no JSON"),
        ("API_KEYS_FILE", "/nowhere/keys.json", "cannot be read"),
    ] {
        for command in ["check-config", "serve"] {
            let output = run(&[command], &[(name, value)], folder.path());
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command} {name}={value}: {said}");
            let begin = format!("error: {name} (--{}): \"{value}\" ", name.to_lowercase().replace('_', "-"));
            assert!(said.starts_with(&begin) && said.contains(allowed), "{name}={value}: {said}");
            assert!(said.lines().count() == 1 && output.stdout.is_empty());
        }
    }
    let output = run(&["--colour"], &[], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--colour"));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let output = run(&[], &[("HOST", "127.0.0.1"), ("PORT", &port)], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port} (HOST, PORT)")), "{said}");
}

#[test]
fn the_example_is_what_the_server_starts_with() {
    let folder = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    std::fs::copy(example, folder.path().join(".env")).unwrap();
    let of_example = run(&["check-config"], &[], folder.path());
    assert!(of_example.status.success(), "{}", text(&of_example.stderr));
    let values = |output: &Output| -> Vec<String> {
        let lines = text(&output.stdout).lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned());
        lines.filter(|line| !line.starts_with("APP_ID=")).collect()
    };
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(values(&of_example), values(&run(&["check-config"], &[], empty.path())));
    // And it names every setting there is.
    let text = std::fs::read_to_string(example).unwrap();
    assert!(values(&of_example).len() > 20);
    for line in values(&of_example) {
        let name = line.split('=').next().unwrap();
        assert!(text.contains(&format!("{name}=")), "{name} is not in .env.example");
    }
}

#[test]
fn every_setting_is_in_the_table_of_the_readme() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rows: String = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for line in text(&run(&["check-config"], &[], folder.path()).stdout).lines() {
        let name = line.split('=').next().unwrap();
        assert!(rows.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}

#[test]
fn a_log_that_cannot_be_written_never_starts_a_server() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let output = run(&[], &[("LOG_TO_FILE", "true"), ("LOG_DIR", "file")], folder.path());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: LOG_DIR (--log-dir): \"file\" cannot be written to: "), "{said}");
}

#[test]
fn tokens_and_keys_are_made_at_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("JWT_SECRET", "hunter2")];
    let token = run(&["token", "--sub", "alice", "--allow-symbols", "BTC,ETH*", "--port", "1"], &env, folder.path());
    assert!(token.status.success(), "{}", text(&token.stderr));
    assert_eq!(text(&token.stdout).trim_end().split('.').count(), 3);
    for (args, env, part) in [
        (&["token", "--sub", "alice"][..], &[][..], "JWT_SECRET is not set"),
        (&["token", "--sub", "alice", "--allow-symbols", ""], &env, "1 to 128 bytes"),
        (&["token"], &env, "--sub"),
        (&["key", "--name", "desk", "--scopes", "root"], &[], "must be publish, message or admin"),
    ] {
        let output = run(args, env, folder.path());
        assert!(!output.status.success() && text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
    let key = run(&["key", "--name", "desk", "--scopes", "publish,admin"], &[], folder.path());
    let lines: Vec<&str> = text(&key.stdout).lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("tickcast_"), "{lines:?}");
    assert!(
        lines[1].starts_with(r#"{"name":"desk","sha256":""#) && lines[1].ends_with(r#""scopes":["publish","admin"]}"#)
    );
}
