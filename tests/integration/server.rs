//! The real server, in this process, on a free port.

use std::net::SocketAddr;

use serde_json::Value;
use tickcast::app::{App, Outcome};
use tickcast::clock::Clock;
use tickcast::config::Config;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<Outcome>>,
}

impl Server {
    /// Starts one with a quick symbol, `BTC`, and these flags.
    pub(crate) async fn start(clock: &Clock, flags: &[&str]) -> Self {
        let args = ["tickcast", "--host=127.0.0.1", "--port=0", "--symbols=BTC", "--update-interval=5"];
        let (_, config, _) = Config::load(args.iter().chain(flags).map(Into::into)).unwrap();
        let app = App::bind(config, clock.clone()).unwrap();
        let address = app.address();
        let (stop, stopped) = oneshot::channel();
        #[allow(clippy::disallowed_methods, reason = "awaited by `Server::stop`")]
        let running = tokio::spawn(app.run(async {
            stopped.await.ok();
        }));
        Self { address, stop, running }
    }

    /// What `/stats` says.
    pub(crate) async fn stats(&self) -> Value {
        let response = reqwest::get(format!("http://{}/stats", self.address)).await.unwrap();
        response.json().await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        assert_eq!(self.running.await.unwrap().unwrap(), Outcome::Clean);
    }
}
