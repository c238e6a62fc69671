use super::*;

fn load(args: &[&str]) -> Result<(Command, Config, Effective), Stop> {
    Config::load(std::iter::once("tickcast").chain(args.iter().copied()).map(Into::into))
}

#[test]
fn the_command_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_start_a_server() {
    let (command, config, _) = load(&[]).unwrap();
    assert_eq!(command, Command::Serve);
    assert_eq!((config.port, config.update_interval_ms, config.default_mode), (3000, 500, Mode::Tick));
    assert_eq!((config.ping_interval_ms, config.ping_timeout_ms), (25_000, 60_000));
    assert_eq!((config.limits.max_payload_bytes, config.limits.attachments_timeout_ms), (1_000_000, 10_000));
    let plan = config.plan();
    let names: Vec<_> = plan.simulated.iter().map(Symbol::as_str).collect();
    assert!(plan.http && plan.redis && plan.exchanges.is_empty() && plan.replay.is_none());
    assert!(names.len() == 12 && ["BTC", "ETH", "SOL", "ADA", "XRP"].iter().all(|name| names.contains(name)));
    assert!(config.remarks().is_empty());
}

#[test]
fn flags_go_before_and_after_the_command() {
    let (command, config, effective) = load(&["--port", "1234", "check-config", "--symbols", "A, B"]).unwrap();
    assert_eq!((command, config.port), (Command::CheckConfig, 1234));
    assert_eq!(config.plan().simulated.len(), 2);
    let shown = effective.to_string();
    assert!(shown.lines().any(|line| line.starts_with("PORT=1234 ") && line.ends_with("# flag")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("TICK_EVENT=tick ") && line.ends_with("# default")), "{shown}");
}

#[test]
fn a_mistake_names_the_variable_the_value_and_what_is_allowed() {
    for (flag, value, message) in [
        ("port", "70000", "PORT (--port): \"70000\" is not a port: must be a whole number from 0 to 65535"),
        ("port", "", "PORT (--port): \"\" is not a port: must be a whole number from 0 to 65535"),
        (
            "update-interval",
            "0",
            "UPDATE_INTERVAL (--update-interval): \"0\" is not allowed: must be a whole number from 1 to 3600000",
        ),
        (
            "symbols",
            "BTC,,ETH",
            "SYMBOLS (--symbols): \"BTC,,ETH\" has \"\" in it: a symbol is 1 to 32 ASCII letters, digits, or . _ : \
             / -, with commas between",
        ),
        ("symbols", "BTC,BTC", "SYMBOLS (--symbols): \"BTC,BTC\" names BTC twice"),
        (
            "cors-origin",
            "https://a.example/",
            "CORS_ORIGIN (--cors-origin): \"https://a.example/\" has \"https://a.example/\" in it: must be * or a \
             list of origins such as https://a.example or http://b.example:8080, without a path, with commas \
             between",
        ),
        ("default-mode", "fast", "DEFAULT_MODE (--default-mode): \"fast\" is not a mode: must be tick, batch or both"),
        ("log-format", "xml", "LOG_FORMAT (--log-format): \"xml\" is not a format: must be text or json"),
        ("log-level", "3", "LOG_LEVEL (--log-level): \"3\" is not a level: must be error, warn, info, debug or trace"),
        ("workers", "0", "WORKERS (--workers): \"0\" is not allowed: must be a whole number from 1 to 1024"),
        (
            "cluster-enabled",
            "maybe",
            "CLUSTER_ENABLED (--cluster-enabled): \"maybe\" is not allowed: must be true or false",
        ),
    ] {
        let stop = load(&[&format!("--{flag}={value}")]).unwrap_err();
        assert_eq!(stop.message, message);
        assert!(!stop.asked_for);
    }
    for (flag, value) in [
        ("host", "nowhere"),
        ("socket-path", "socket.io"),
        ("socket-path", "/"),
        ("base-path", "/a b"),
        ("base-path", "/a//b"),
        ("tick-event", "connect"),
        ("batch-event", "tick"),
        ("batch-event", "error"),
        ("app-id", "a b"),
        ("ping-interval", "-1"),
        ("ping-timeout", "1e9"),
        ("max-payload", "1"),
        ("attachments-timeout", "99"),
        ("drain-deadline", "soon"),
        ("history-seconds", "x"),
        ("simulator-seed", "-5"),
    ] {
        let message = load(&[&format!("--{flag}={value}")]).unwrap_err().message;
        let name = flag.to_uppercase().replace('-', "_");
        assert!(message.starts_with(&format!("{name} (--{flag}): \"{value}\" ")), "{message}");
        assert!(message.contains("must") || message.contains("different"), "{message}");
    }
}

#[test]
fn reads_what_the_forms_allow() {
    let (_, config, _) = load(&["--base-path=/feed/", "--socket-path=/ws/", "--host=::1"]).unwrap();
    assert_eq!(config.full_socket_path(), "/feed/ws");
    let (_, config, _) = load(&["--cors-origin=https://A.example, http://[::1]:80", "--base-path=/"]).unwrap();
    let listed = vec!["https://a.example".to_owned(), "http://[::1]:80".to_owned()];
    assert_eq!(config.cors_origin, Origins::Listed(listed));
    assert_eq!(config.full_socket_path(), "/socket.io");
}

#[test]
fn explains_what_changes_nothing() {
    let (_, config, _) = load(&["--cluster-enabled=true", "--workers=4", "--node-env=production"]).unwrap();
    let remarks = config.remarks();
    assert!(remarks[0].contains("WORKERS=4 threads") && remarks[1].contains("NODE_ENV=production"));
}

#[test]
fn redis_is_where_the_settings_say() {
    let redis = |args: &[&str]| load(args).unwrap().1.redis();
    let url = |url: &str| Some(RedisAddress::Url(url.into()));
    let parts = |host: &str, port, username: Option<&str>, password: Option<&str>| {
        let (username, password) = (username.map(Into::into), password.map(Into::into));
        Some(RedisAddress::Parts { host: host.into(), port, username, password })
    };
    assert_eq!(redis(&[]), None);
    assert_eq!(redis(&["--redis-url=", "--redis-host=", "--redis-password="]), None);
    assert_eq!(redis(&["--redis-url=rediss://u:p@h:1/2"]), url("rediss://u:p@h:1/2"));
    assert_eq!(redis(&["--redis-host=h", "--redis-password="]), parts("h", 6379, None, None));
    let all = ["--redis-host=h", "--redis-port=7", "--redis-username=u", "--redis-password=p"];
    assert_eq!(redis(&all), parts("h", 7, Some("u"), Some("p")));
    assert_eq!(redis(&["--redis-enabled=true"]), parts("localhost", 6379, None, None));
    assert_eq!(redis(&["--redis-enabled=false", "--redis-url=redis://h"]), None);
    let (_, both, _) = load(&["--redis-url=redis://h", "--redis-host=i"]).unwrap();
    assert!(both.redis() == url("redis://h") && both.remarks().len() == 1);
    let forms = ["redis-cluster://h:1?node=i:2&node=j:3", "rediss-sentinel://h:1/2?sentinelServiceName=x&node=i:2"];
    for good in forms {
        assert_eq!(redis(&[&format!("--redis-url={good}")]), url(good));
    }
    for (bad, why) in [
        ("redis-cluster://h:1/2", "names a database"),
        ("redis-cluster://h:1?node=i", "has a node that is none"),
        ("redis-sentinel://h:1", "names no service"),
    ] {
        let message = load(&[&format!("--redis-url={bad}")]).unwrap_err().message;
        assert!(message.contains(why), "{message}");
    }
    for bad in ["h:6379", "http://h", "redis://", "redis://h/x", "redis-other://h"] {
        let message = load(&[&format!("--redis-url={bad}")]).unwrap_err().message;
        assert!(message.starts_with("REDIS_URL (--redis-url): \"********\" is not an address"), "{message}");
    }
    assert!(load(&["--redis-host=redis://h"]).is_err() && load(&["--redis-port=0"]).is_err());
}

#[test]
fn hides_secrets() {
    for (name, secret) in [
        ("REDIS_PASSWORD", true),
        ("JWT_SECRET", true),
        ("API_KEY", true),
        ("BACKEND_URL", true),
        ("BACKEND_SECRET", true),
        ("API_KEYS_FILE", false),
        ("TOKEN_IN_QUERY", false),
        ("PORT", false),
    ] {
        assert_eq!(is_secret(name), secret, "{name}");
    }
    let (_, config, _) = load(&["--jwt-secret=hunter2", "--api-key=hunter2", "--redis-host=h"]).unwrap();
    let access = &config.access;
    assert!(!format!("{access:?}").contains("hunter2") && access.jwt_secret().unwrap().reveal() == "hunter2");
}

#[test]
fn who_may_do_what_is_said_where_it_surprises() {
    let remarks = |args: &[&str]| load(args).unwrap().1.remarks().join("\n");
    assert!(remarks(&["--jwt-secret=", "--api-key=", "--api-keys-file=", "--jwt-jwks-file="]).is_empty());
    assert!(remarks(&["--jwt-secret=short"]).starts_with("JWT_SECRET has 5 bytes: with fewer than 32"));
    assert!(remarks(&["--allow-anonymous=true"]).starts_with("ALLOW_ANONYMOUS changes nothing"));
    assert!(remarks(&["--api-open=true"]).contains("everybody who reaches this port may publish"));
    assert!(remarks(&["--api-open=true", "--api-key=k"]).starts_with("API_OPEN changes nothing"));
    for args in [["--jwt-secret=s", "--jwt-jwks-file=f"], ["--jwt-public-key-file=k", "--jwt-jwks-file=f"]] {
        assert!(load(&args).unwrap_err().message.ends_with("are set: only one of them is allowed"));
    }
}

#[test]
fn back_ends_are_addresses_with_events_of_theirs() {
    let (_, config, _) = load(&["--backend-url=https://u:hunter2@h/p", "--backend-secret=hunter2"]).unwrap();
    assert!(!format!("{:?}", config.messaging).contains("hunter2") && config.remarks().is_empty());
    assert_eq!(config.messaging.backend_url().unwrap().reveal(), "https://u:hunter2@h/p");
    let remarks = |args: &[&str]| load(args).unwrap().1.remarks().join("\n");
    assert!(remarks(&["--backend-url=", "--backend-announce=true"]).starts_with("BACKEND_ANNOUNCE changes nothing"));
    assert!(remarks(&["--backend-url=http://h"]).contains("not signed"));
    assert!(load(&["--backend-events=chat, send_message,my-own"]).is_ok());
    for (args, part) in [
        (["--backend-events=chat,subscribe"], "\"subscribe\" is not for back ends: must be of join, leave, chat"),
        (["--backend-url=ftp://h"], "BACKEND_URL (--backend-url): \"********\" is not allowed: must be http"),
        (["--backend-url=h:3000"], "is not allowed"),
        (["--backend-timeout=5"], "from 10 to 60000"),
        (["--emitter-channel=a b"], "at most 128 bytes"),
    ] {
        let message = load(&args).unwrap_err().message;
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn reads_sizes_and_networks() {
    for (text, bytes) in [("1k", 1024), ("1024", 1024), ("10m", 10 << 20), ("10M", 10 << 20), ("100g", 100 << 30)] {
        assert_eq!(parse::size(text), Ok(bytes), "{text}");
    }
    for bad in ["", "k", "1", "1023", "101g", "1t", "1.5m", "-1k", "10mb", "99999999999999999999g"] {
        assert!(parse::size(bad).is_err(), "{bad}");
    }
    let networks = parse::networks("10.0.0.0/8, 192.0.2.7,fd00::/8").unwrap();
    assert_eq!(networks.0.len(), 3);
    assert!(networks.0[1].contains(&"192.0.2.7".parse::<IpAddr>().unwrap()));
    assert!(parse::networks("").unwrap().0.is_empty());
    assert!(parse::networks("10.0.0.0/8,").is_err());
}

#[test]
fn a_drain_has_room_in_its_deadline() {
    let spread = |args: &[&str], is_alone| load(args).unwrap().1.operations.drain_spread_ms(is_alone);
    assert_eq!((spread(&[], false), spread(&[], true)), (5_000, 0));
    assert_eq!(spread(&["--drain-deadline=3000", "--drain-spread=1500"], true), 1_500);
    let message = load(&["--drain-deadline=3000", "--drain-spread=1501"]).unwrap_err().message;
    assert_eq!(
        message,
        "DRAIN_SPREAD (--drain-spread): \"1501\" is not allowed: must be at most 1500, half of DRAIN_DEADLINE"
    );
}

#[test]
fn sources_and_symbols_say_together_who_makes_what() {
    let plan = |sources: &str, symbols: &str| {
        let args = [format!("--sources={sources}"), format!("--symbols={symbols}")];
        let plan = load(&[&args[0], &args[1]]).map_err(|stop| stop.message)?.1.plan();
        let exchanges = plan.exchanges.iter().flat_map(|(exchange, listed)| {
            let entry = |listed: &Listed| format!("{}={}@{}", listed.symbol, listed.listed, exchange.as_str());
            listed.iter().map(entry).collect::<Vec<_>>()
        });
        let all: Vec<_> = plan.simulated.iter().map(ToString::to_string).chain(exchanges).collect();
        Ok::<_, String>(all.join(" "))
    };
    for (sources, symbols, made) in [
        ("coinbase", "BTC-USD", "BTC-USD=BTC-USD@coinbase"),
        ("binance", "BTC=btcusdt, ethusdt@binance", "BTC=BTCUSDT@binance ethusdt=ETHUSDT@binance"),
        (
            "simulator,coinbase,binance",
            "BTC-USD@coinbase,BTC=BTCUSDT@binance,XBT=BTCUSDT@binance,FOO@simulator",
            "FOO BTC-USD=BTC-USD@coinbase BTC=BTCUSDT@binance XBT=BTCUSDT@binance",
        ),
        ("http,redis", "", ""),
        ("http", listing::DEFAULT_SYMBOLS, ""),
        ("", "", ""),
    ] {
        assert_eq!(plan(sources, symbols).as_deref(), Ok(made), "{sources} {symbols}");
    }
    let (_, config, _) = load(&["--sources=kraken"]).unwrap();
    let kraken = config.plan().listed(ExchangeName::Kraken).to_vec();
    assert!(kraken.len() == 12 && kraken[0].symbol.as_str() == "BTC" && kraken[0].listed == "BTC/USD");
    assert_eq!(load(&["--sources=replay:a/b"]).unwrap().1.plan().replay, Some("a/b".into()));

    let symbols = |value: &str, rest: &str| format!("SYMBOLS (--symbols): \"{value}\" {rest}");
    for (sources, all, message) in [
        (
            "simulator,coinbase",
            "BTC,ETH-USD@coinbase",
            symbols("BTC", "may be of several sources: must end in one of @simulator, @coinbase"),
        ),
        (
            "coinbase",
            "BTC/USD@kraken",
            symbols("BTC/USD@kraken", "is of kraken: kraken must be in SOURCES, or the symbol another's"),
        ),
        (
            "http",
            "BTC",
            symbols("BTC", "is nobody's: SOURCES must name the simulator or an exchange, or SYMBOLS be empty"),
        ),
        ("simulator", "A=B", symbols("A=B", "is called A: only symbols of an exchange have two names")),
        (
            "coinbase",
            "BTC@bitfinex",
            symbols(
                "BTC@bitfinex",
                "has \"BTC@bitfinex\" in it: after @ there must be simulator, binance, coinbase or kraken",
            ),
        ),
        ("coinbase", "A=B C", symbols("A=B C", "has \"A=B C\" in it: a symbol is 1 to 32 ASCII letters, digits, or . _ : / -, with commas between")),
        (
            "simulator,kraken",
            "BTC@simulator",
            "SOURCES (--sources): \"kraken\" has no symbols: SYMBOLS must have some that end in @kraken".to_owned(),
        ),
        (
            "simulator,kraken",
            listing::DEFAULT_SYMBOLS,
            "SOURCES (--sources): \"kraken\" has no symbols: SYMBOLS must have some that end in @kraken".to_owned(),
        ),
        (
            "simulator,simulator",
            "BTC",
            "SOURCES (--sources): \"simulator,simulator\" names simulator twice".to_owned(),
        ),
        (
            "replay:",
            "",
            "SOURCES (--sources): \"replay:\" has \"replay:\" in it: must be simulator, binance, coinbase, kraken, http, \
             redis or replay:FILE, with commas between"
                .to_owned(),
        ),
    ] {
        assert_eq!(plan(sources, all), Err(message), "{sources} {all}");
    }
}

#[test]
fn bounds_of_jumps_are_for_all_symbols_or_for_some() {
    let (_, config, _) = load(&["--max-jump=20,BTC=2.5,ETH=0"]).unwrap();
    let of = |name: &str| config.feeds.max_jump.of(&name.parse().unwrap());
    assert_eq!((of("SOL"), of("BTC"), of("ETH")), (Some(0.2), Some(0.025), None));
    for (bad, message) in [
        ("x", "has \"x\" in it: must be a number of percent from 0 to 1000000"),
        ("-1", "has \"-1\" in it: must be a number"),
        ("1,2", "has \"2\" in it: what is not first must be SYMBOL=PERCENT"),
        ("BTC=1,BTC=2", "names BTC twice"),
        ("1,FOO=2", "must be one of SYMBOLS"),
    ] {
        let error = load(&[&format!("--max-jump={bad}")]).unwrap_err().message;
        assert!(error.starts_with("MAX_JUMP (--max-jump): ") && error.contains(message), "{error}");
    }
    for (flag, bad) in
        [("replay-speed", "0"), ("replay-speed", "fast"), ("stale-after", "99"), ("kraken-url", "http://a")]
    {
        let error = load(&[&format!("--{flag}={bad}")]).unwrap_err().message;
        assert!(error.contains(&format!("(--{flag}): \"{bad}\" is not")) && error.contains("must be"), "{error}");
    }
    let error = load(&["--replay-loop=true", "--replay-keep-ts=true"]).unwrap_err().message;
    assert!(error.starts_with("REPLAY_LOOP (--replay-loop): \"true\" is not allowed with REPLAY_KEEP_TS"), "{error}");
}
