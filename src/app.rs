mod settings;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::bus::{Bus, RedisSettings};
use crate::clock::Clock;
use crate::config::Config;
use crate::fanout::{self, Fanout, Observer};
use crate::http;
use crate::journal::Folder;
use crate::keeping::{CandleFile, Keeper};
use crate::limits::Limits;
use crate::market::{Keep, Kept, Market};
use crate::messages::alerts::{self, AlertFile, Stored};
use crate::messages::{self, backend};
use crate::metrics::Metrics;
use crate::net::{self, Listener};
use crate::publish::Publisher;
use crate::sockets::{self, Edge, Gate};
use crate::sources::{Held, Input, Recall, Sources};
use settings::{
    BACKEND_SHARE, alert_settings, backend_settings, bus_settings, fanout_settings, publish_settings, socket_settings,
};

/// The most ticks of history a symbol may hold, however long `HISTORY_SECONDS` is.
const HISTORY_TICKS: usize = 10_000;

/// Connections that those who look after the server have beyond `MAX_TCP_CONNECTIONS`, at a port of their own.
const ADMIN_CONNECTIONS: u32 = 64;

/// The feed counts as down when no tick has come for this long, or for this many intervals, whichever is longer.
const SILENT_AFTER: Duration = Duration::from_secs(10);
const SILENT_INTERVALS: u32 = 5;

/// The share of the shutdown's deadline that clients may use, and then the requests that are left; the rest is for the
/// tasks.
const CLIENTS_SHARE: f64 = 0.7;
const REQUESTS_SHARE: f64 = 0.1;

/// How long a client may take to go after its transport was closed, and at most which share of the deadline.
const GRACE: Duration = Duration::from_secs(1);
const GRACE_SHARE: f64 = 0.1;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody was told and went, within the deadline.
    Clean,
    /// The deadline came first: what was left was cut.
    Cut,
}

/// A server that listens, and does not serve yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    clock: Clock,
    auth: Arc<Auth>,
    listener: Listener,
    /// For those who look after the server, where they have a port of their own.
    admin: Option<Listener>,
    /// For what is kept; where this server is alone, and there is a place for it.
    folder: Option<Arc<Folder>>,
}

impl App {
    /// Reads the keys, binds the port, and takes the folder for what is kept. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// A file with keys cannot be used, the address not be listened on, or the folder for what is kept not be had.
    pub fn bind(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let auth = Arc::new(Auth::open(&config.access, clock.clone()).map_err(anyhow::Error::msg)?);
        let address = SocketAddr::new(config.host, config.port);
        let limits = net::Limits {
            attachments_timeout: Duration::from_millis(config.limits.attachments_timeout_ms),
            slow_timeout: Duration::from_secs(config.slow_client_timeout_s),
            header_timeout: Duration::from_millis(config.limits.http_header_timeout_ms),
            frames_per_second: config.limits.frames_per_second(),
            buffer_bytes: config.client_buffer_bytes,
            kernel_bytes: (config.client_sndbuf_bytes > 0).then_some(config.client_sndbuf_bytes),
        };
        let settings = net::Settings {
            address,
            limits,
            max_connections: Some(config.limits.max_tcp_connections).filter(|number| *number > 0),
            idle_timeout: Duration::from_millis(config.limits.http_idle_timeout_ms),
            body_timeout: Duration::from_millis(config.limits.http_body_timeout_ms),
        };
        let bind = |settings: &net::Settings, names| {
            Listener::bind(settings).with_context(|| format!("cannot listen on {} ({names})", settings.address))
        };
        let listener = bind(&settings, "HOST, PORT")?;
        let admin = config.operations.admin_port.map(|port| {
            // Also when every other connection is taken.
            let max_connections = settings.max_connections.map(|most| most.saturating_add(ADMIN_CONNECTIONS));
            let address = SocketAddr::new(config.host, port);
            bind(&net::Settings { address, max_connections, ..settings.clone() }, "HOST, ADMIN_PORT")
        });
        let folder = config.operations.data_dir().filter(|_| config.redis().is_none()).map(Folder::take).transpose();
        let folder = folder.context("DATA_DIR")?.map(Arc::new);
        Ok(Self { admin: admin.transpose()?, config, clock, auth, listener, folder })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Serves until `shutdown`, then ends within `DRAIN_DEADLINE`.
    ///
    /// # Errors
    /// A part that should have run to the end ended by itself; the rest was shut down.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<Outcome> {
        let Self { config, clock, auth, listener, admin, folder } = self;
        let (address, admin_address) = (listener.address(), admin.as_ref().map(Listener::address));
        let metrics = Arc::<Metrics>::default();
        let interval = Duration::from_millis(config.update_interval_ms);

        // Channels.
        let redis = config.redis().map(|address| RedisSettings::new(&address)).transpose()?;
        let (bus, mut events, background) = Bus::open(&bus_settings(&config, redis.clone()), &clock, &metrics).await?;
        let bus = Arc::new(bus);
        let (handle, inboxes) = fanout::channel(config.workers.get(), &metrics.queues);

        // Parts, in the order of a tick's way.
        let keep =
            Keep { age_ms: config.history_seconds * 1000, ticks: HISTORY_TICKS, candles: Kept(config.candles.0) };
        let plan = config.plan();
        let symbols = plan.made().map(|(symbol, _)| symbol).chain(&config.publishing.published_symbols.0).cloned();
        let market = Arc::new(Market::new(symbols, keep, metrics.clone()));
        let file = folder.as_ref().map(|folder| CandleFile::open(folder, &market, &metrics));
        let file = file.transpose().context("DATA_DIR")?;
        let candle_keeper = Keeper::new(market.clone(), bus.clone(), file, metrics.clone());
        let recall: Recall = Arc::new({
            let market = market.clone();
            // After a restart it is in the candles that were kept.
            move |symbol| {
                let in_candles = || market.last_in_candles(symbol).map(|(_, tick)| tick.update);
                market.last_update(symbol).or_else(in_candles)
            }
        });
        let held = Held {
            last_ms: Arc::new({
                let market = market.clone();
                move |symbol| market.candles_until_ms(symbol)
            }),
            candles: config.candles.0.map(|count| count as u64),
        };
        let mut sources = Sources::open(&config, &clock, &metrics, &recall, Some(&held)).await?;
        let made = plan.made().chain(sources.replayed().iter().map(|symbol| (symbol, "replay")));
        let made: HashMap<_, _> = made.map(|(symbol, source)| (symbol.clone(), source)).collect();
        let publisher = Arc::new(Publisher::new(
            publish_settings(&config, &made),
            bus.clone(),
            market.clone(),
            clock.clone(),
            metrics.clone(),
        ));
        // What other services publish without HTTP comes by Redis alone.
        if plan.redis && bus.is_shared() {
            sources = sources.with_input(Input::new(publisher.clone(), metrics.clone()));
        }
        let limits = Arc::new(Limits::new(&config.limits, config.cors_origin.clone(), metrics.clone()));
        let settings = socket_settings(&config, redis.as_ref());
        let (messages, inbox) = messages::channel(&metrics.queues);
        let (backend, posts) = backend_settings(&config)
            .map(|settings| backend::open(settings, &metrics, &clock).context("cannot post to BACKEND_URL"))
            .transpose()?
            .unzip();
        // Without tokens nobody is known well enough to be a user, of all replicas or tomorrow.
        let stored = match &folder {
            _ if !auth.asks_for_tokens() => Stored::Nowhere,
            Some(folder) => Stored::File(AlertFile::open(folder, &metrics).context("DATA_DIR")?.into()),
            None => bus.records().map_or(Stored::Nowhere, Stored::Shared),
        };
        let stored = (stored, bus.claims());
        let alerts::Parts { alerts, firings, keeper, posts: alert_posts } =
            alerts::open(alert_settings(&config), &market, stored, backend.clone(), &clock, &metrics);
        let observer: Observer = Arc::new({
            let alerts = alerts.clone();
            move |epoch, fresh| alerts.take(epoch, fresh)
        });
        let asked_to_drain = CancellationToken::new();
        let talk = sockets::Talk {
            messages: messages.clone(),
            inbox,
            backend,
            alerts,
            firings,
            asked_to_drain: asked_to_drain.clone(),
        };
        let gate = Gate { auth: auth.clone(), limits: limits.clone(), feed: market.feed_watch() };
        let (edge, carrier) = Edge::new(&settings, talk, handle, gate, metrics.clone(), clock.clone()).await?;
        let fanout = Fanout::new(fanout_settings(&config), &market, &metrics, &clock, inboxes);
        let (pump, shards) = fanout.observed_by(observer).split();
        let state = Arc::new(http::State {
            id: config.app_id.clone(),
            started: Instant::now(),
            market,
            bus: bus.clone(),
            metrics: metrics.clone(),
            auth: auth.clone(),
            clock: clock.clone(),
            silent_after: (!plan.simulated.is_empty()).then(|| SILENT_AFTER.max(interval * SILENT_INTERVALS)),
            role: config.publishing.role,
            made,
            draining: false.into(),
            asked_to_drain,
        });
        let desk = http::Desk { messages, server_id: config.app_id.clone(), clock: clock.clone() };
        let parts = http::Parts { publisher, limits: limits.clone(), desk };
        let routers = http::routers(&config, &state, &parts, edge.router());

        // Tasks. One that ends before its token is cancelled begins the shutdown.
        let accepting = net::Ends::default();
        let leading = CancellationToken::new();
        let led = CancellationToken::new();
        let running = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (bus, leading, metrics) = (bus.clone(), leading.clone(), metrics.clone());
            let done = led.clone().drop_guard();
            async move {
                let _done = done;
                let ended = sources.run(&bus, &metrics, &leading).await;
                ("source", ended.map_err(anyhow::Error::from))
            }
        });
        tasks.spawn({
            let (running, state) = (running.clone(), state.clone());
            async move {
                background.run(|| state.describe(), running).await;
                ("bus", Ok(()))
            }
        });
        tasks.spawn({
            let (auth, running) = (auth.clone(), running.clone());
            async move {
                auth.watch(running).await;
                ("watch over the keys", Ok(()))
            }
        });
        tasks.spawn({
            // In a cluster another replica goes on with it at once; alone there is something to store up to the end.
            let stop = if bus.is_shared() { leading.clone() } else { running.clone() };
            async move {
                candle_keeper.run(stop).await;
                ("keeper of the candles", Ok(()))
            }
        });
        tasks.spawn({
            let running = running.clone();
            async move {
                carrier.run(running).await;
                ("messages", Ok(()))
            }
        });
        if let Some(keeper) = keeper {
            let running = running.clone();
            tasks.spawn(async move {
                keeper.run(running).await;
                ("keeper of alerts", Ok(()))
            });
        }
        let posting = CancellationToken::new();
        let posted = CancellationToken::new();
        let done = posted.clone().drop_guard();
        if let Some(posts) = alert_posts {
            let (leading, posting) = (leading.clone(), posting.clone());
            tasks.spawn(async move {
                let _done = done;
                posts.run(leading, posting).await;
                ("posts of alerts", Ok(()))
            });
        } else {
            drop(done);
        }
        if let Some(posts) = posts {
            let running = running.clone();
            tasks.spawn(async move {
                posts.run(running).await;
                ("back end", Ok(()))
            });
        }
        let pumping = CancellationToken::new();
        let pumped = CancellationToken::new();
        tasks.spawn({
            let (running, pumping, done) = (running.clone(), pumping.clone(), pumped.clone().drop_guard());
            async move {
                pump.run(&mut events, pumping.clone()).await;
                drop(done);
                if pumping.is_cancelled() {
                    // The bus is still needed, and would end where nobody listens.
                    running.cancelled().await;
                }
                ("pump", Ok(()))
            }
        });
        for shard in shards {
            let running = running.clone();
            tasks.spawn(async move {
                shard.run(running).await;
                ("fan-out", Ok(()))
            });
        }
        tasks.spawn({
            let (accepting, connections, metrics) = (accepting.clone(), connections.clone(), metrics.clone());
            async move {
                listener.serve(routers.public, connections, metrics, accepting).await;
                ("listener", Ok(()))
            }
        });
        // To the very end: how a shutdown goes can be seen there.
        let watched = net::Ends::default();
        if let Some((admin, router)) = admin.zip(routers.admin) {
            let watched = watched.clone();
            tasks.spawn(async move {
                admin.serve(router, TaskTracker::new(), metrics, watched).await;
                ("admin listener", Ok(()))
            });
        }

        // An address that stands for all of them is none that a browser can open.
        let host = if address.ip().is_unspecified() {
            "localhost".to_owned()
        } else {
            SocketAddr::new(address.ip(), 0).to_string().trim_end_matches(":0").to_owned()
        };
        let url = format!("http://{host}:{}{}", address.port(), config.base_path);
        let admin_url = admin_address.map(|admin| format!("http://{host}:{}{}", admin.port(), config.base_path));
        for line in auth.in_words() {
            tracing::info!("{line}");
        }
        tracing::info!(url, admin_url, id = config.app_id, "listening");
        let failure = tokio::select! {
            () = shutdown => None,
            () = state.asked_to_drain.cancelled() => None,
            Some(ended) = tasks.join_next() => Some(match ended {
                Ok((task, Ok(()))) => anyhow::anyhow!("the {task} ended by itself"),
                Ok((task, Err(error))) => error.context(format!("the {task} failed")),
                Err(panic) => anyhow::Error::from(panic).context("a task panicked"),
            }),
        };
        // Not ready and nobody new; sources go to other replicas, where there are any; then the clients; ticks go on
        // until they are gone.
        let deadline = Duration::from_millis(config.operations.drain_deadline_ms);
        let end = tokio::time::Instant::now() + deadline;
        state.drain();
        limits.drain();
        // Said once it holds: whoever reads it may count on it.
        if let Some(error) = &failure {
            tracing::error!(error = format!("{error:#}"), "shutting down after a failure");
        } else {
            tracing::info!(deadline_ms = config.operations.drain_deadline_ms, "shutting down");
        }
        connections.close();
        // Nobody else makes ticks for the clients of an island.
        let hand_over = async {
            bus.among_others().await;
            leading.cancel();
            std::future::pending().await
        };
        let spread = Duration::from_millis(config.operations.drain_spread_ms(!bus.is_shared()));
        let leave = async {
            edge.drain(spread, GRACE.min(deadline.mul_f64(GRACE_SHARE))).await;
            // Who came to no namespace, and is nobody's client yet.
            edge.close().await;
        };
        let leave = tokio::time::timeout(deadline.mul_f64(CLIENTS_SHARE), leave);
        let clients_gone = tokio::select! {
            biased;
            () = hand_over => false,
            left = leave => left.is_ok(),
        };
        // Until now it answered those who came, so that a proxy sends them elsewhere.
        accepting.stop.cancel();
        tokio::time::timeout(deadline.mul_f64(REQUESTS_SHARE), connections.wait()).await.ok();
        accepting.cut.cancel();
        // A lease is given back through the bus, which has to be there for it.
        leading.cancel();
        tokio::time::timeout_at(end, led.cancelled()).await.ok();
        // What the sources have made is taken before those end who keep what is made of it, and who tell of alerts.
        pumping.cancel();
        tokio::time::timeout_at(end, pumped.cancelled()).await.ok();
        // What it has taken on to tell the back end, and has to say so in Redis, is neither posted twice nor by nobody.
        posting.cancel();
        tokio::time::timeout(deadline.mul_f64(BACKEND_SHARE / 2.0), posted.cancelled()).await.ok();
        running.cancel();
        watched.stop.cancel();
        watched.cut.cancel();
        let join = async { while tasks.join_next().await.is_some() {} };
        let tasks_joined = tokio::time::timeout_at(end, join).await.is_ok();
        tasks.abort_all();

        match (failure, clients_gone && tasks_joined) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(Outcome::Clean),
            (None, false) => {
                tracing::warn!("the deadline came before every client had gone: cutting what is left");
                Ok(Outcome::Cut)
            }
        }
    }
}
