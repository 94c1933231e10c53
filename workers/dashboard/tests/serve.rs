//! The dashboard over real sockets, with a feed whose answers the test chooses.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dashboard::{Asked, Config, Queries, QueryError, RouteError};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use schemas::live::{Body, Message, Problem, Snapshot};
use schemas::overview::{Overview, SourceActivity};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::broadcast,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the sink says, as the feed tells it. `None`: the feed itself never answers.
type Answer = Option<Result<Overview, Problem>>;

/// A feed whose sink's answers the test chooses.
struct Feed {
    answer: Mutex<Answer>,
    sequence: AtomicU64,
    passing: broadcast::Sender<Message>,
    asked: AtomicUsize,
}

impl Feed {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::new(answer),
            sequence: AtomicU64::new(1),
            passing: broadcast::Sender::new(64),
            asked: AtomicUsize::new(0),
        })
    }

    fn told(answer: Result<Overview, Problem>) -> schemas::live::Overview {
        let mut told = schemas::live::Overview::default();
        told.sink.answered_ms = Some(0);
        match answer {
            Ok(overview) => told.sink.value = Some(overview),
            Err(problem) => told.sink.problem = Some(problem),
        }
        told
    }

    /// Tells another answer of the sink.
    fn tell(&self, answer: Result<Overview, Problem>) {
        *self.answer.lock().unwrap() = Some(answer.clone());
        let message = Message {
            feed: "feed".into(),
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            at_ms: 0,
            body: Body::Overview(Box::new(Self::told(answer))),
        };
        // Nobody need listen.
        let _ = self.passing.send(message);
    }
}

impl Queries for Feed {
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Message>, QueryError>> {
        let passing = self.passing.subscribe();
        let messages = stream::unfold(passing, |mut passing| async move {
            Some((passing.recv().await.ok()?, passing))
        });
        Box::pin(async move { Ok(messages.boxed()) })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, QueryError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        let sequence = self.sequence.load(Ordering::SeqCst);
        Box::pin(async move {
            match answer {
                None => std::future::pending().await,
                Some(Err(Problem::Failed(text))) if text == "no feed" => {
                    Err(QueryError::Unreachable(Asked::Feed))
                }
                Some(answer) => Ok(Snapshot {
                    feed: "feed".into(),
                    sequence,
                    overview: Self::told(answer),
                    ..Snapshot::default()
                }),
            }
        })
    }

    fn sql(&self, _: String) -> BoxFuture<'_, Result<bus::Bytes, QueryError>> {
        Box::pin(std::future::pending())
    }

    fn route(&self, request: bus::Bytes) -> BoxFuture<'_, Result<bus::Bytes, RouteError>> {
        Box::pin(async move { Ok(request) })
    }
}

struct Dashboard {
    address: SocketAddr,
    feed: Arc<Feed>,
    shutdown: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Dashboard {
    async fn start(answer: Answer) -> Self {
        Self::start_with(answer, Config::default()).await
    }

    async fn start_with(answer: Answer, config: Config) -> Self {
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..config
        };
        let listener = dashboard::bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let feed = Feed::new(answer);
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(dashboard::serve(config, feed.clone(), listener, shutdown.clone()));
        Self {
            address,
            feed,
            shutdown,
            serving,
        }
    }

    /// The whole answer, headers in lower case as sent, read until the server closes.
    async fn get(&self, path: &str) -> String {
        self.get_as(path, &self.address.to_string()).await
    }

    async fn get_as(&self, path: &str, host: &str) -> String {
        let mut stream = self.request(path, host).await;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    }

    async fn request(&self, path: &str, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn live(&self) -> Live {
        Live(BufReader::new(
            self.request("/live", &self.address.to_string()).await,
        ))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(6), self.serving)
            .await
            .expect("a shutdown ends")
            .unwrap()
            .unwrap();
    }
}

/// A live stream being read.
struct Live(BufReader<TcpStream>);

impl Live {
    /// The next line that starts with `prefix`, without it; none at the end of the stream.
    async fn line(&mut self, prefix: &str) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if timeout(PATIENCE, self.0.read_line(&mut line))
                .await
                .unwrap()
                .unwrap()
                == 0
            {
                return None;
            }
            if let Some(rest) = line.strip_prefix(prefix) {
                return Some(rest.trim_end().to_owned());
            }
        }
    }

    /// Ids of the regions of the next update that has any.
    async fn regions(&mut self) -> Vec<String> {
        loop {
            let data = self.line("data: ").await.unwrap();
            let update: serde_json::Value = serde_json::from_str(&data).unwrap();
            // A heartbeat has no regions.
            let Some(regions) = update["regions"].as_array() else {
                continue;
            };
            if !regions.is_empty() {
                return regions
                    .iter()
                    .map(|region| region["id"].as_str().unwrap().to_owned())
                    .collect();
            }
        }
    }
}

fn overview(source: &str) -> Overview {
    Overview {
        at_ms: 1_795_176_000_000,
        sources: vec![SourceActivity {
            source: source.to_owned(),
            events_15m: 5,
            last_seen_ms: 1_795_176_000_000,
        }],
        ..Overview::default()
    }
}

#[tokio::test]
async fn the_page_shows_the_numbers_and_allows_nothing_inline_or_foreign() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner<script>")))).await;
    let page = dashboard.get("/").await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("planner&#60;script&#62;"));
    for header in [
        "content-security-policy: default-src 'self';",
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.contains(header), "{header}");
    }
    for banned in [
        "unsafe-", "style=", "<style", "<script>", "onclick", "http://", "https://",
    ] {
        assert!(!page.contains(banned), "{banned}");
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn assets_are_named_by_their_content_and_kept_for_ever() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    let page = dashboard.get("/").await;
    let urls: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert_eq!(urls.len(), 3);
    for url in urls {
        let asset = dashboard.get(url).await;
        assert!(
            asset.starts_with("HTTP/1.1 200") && asset.contains("max-age=31536000, immutable"),
            "{url}"
        );
    }
    assert!(
        dashboard
            .get("/assets/live.0000000000000000.js")
            .await
            .starts_with("HTTP/1.1 404")
    );
    dashboard.stop().await;
}

#[tokio::test]
async fn listening_everywhere_it_still_answers_to_its_own_names_only() {
    let config = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    };
    let refused = dashboard::bind(&config).await.unwrap_err().to_string();
    assert!(refused.contains("dashboard.allow_non_loopback=true"), "{refused}");
    let config = Config {
        allow_non_loopback: true,
        ..config
    };
    let listener = dashboard::bind(&config).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let feed = Feed::new(Some(Ok(overview("planner"))));
    let shutdown = CancellationToken::new();
    let dashboard = Dashboard {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        serving: tokio::spawn(dashboard::serve(config, feed.clone(), listener, shutdown.clone())),
        feed,
        shutdown,
    };
    assert!(
        dashboard
            .get_as("/", "localhost:8000")
            .await
            .starts_with("HTTP/1.1 200")
    );
    for host in ["0.0.0.0:8000", "dashboard:8000", "evil.example"] {
        let answer = dashboard.get_as("/", host).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        assert!(
            answer.contains(&format!("open http://localhost:{port}/")),
            "{answer}"
        );
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn a_foreign_host_is_refused() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    for path in ["/", "/models", "/pipeline", "/live", "/api/overview", "/health"] {
        let answer = dashboard.get_as(path, "evil.example").await;
        assert!(
            answer.starts_with("HTTP/1.1 421") && answer.contains("this page answers to localhost"),
            "{answer}"
        );
        assert!(answer.contains("content-security-policy") && !answer.contains("planner"));
    }
    assert!(
        dashboard
            .get_as("/", "localhost:9999")
            .await
            .starts_with("HTTP/1.1 200")
    );
    dashboard.stop().await;
}

#[tokio::test]
async fn the_json_twin_gives_the_same_numbers_or_a_problem_with_its_fix() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    let answer = dashboard.get("/api/overview").await;
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        serde_json::from_str::<Overview>(body).unwrap(),
        overview("planner")
    );
    dashboard.stop().await;

    let dashboard = Dashboard::start(Some(Err(Problem::Unreachable))).await;
    let answer = dashboard.get("/api/overview").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("aiai run sink"),
        "{answer}"
    );
    assert!(dashboard.get("/health").await.starts_with("HTTP/1.1 200"));
    dashboard.stop().await;
}

#[tokio::test]
async fn neither_a_silent_feed_nor_a_slow_query_blocks_a_page_or_the_shutdown() {
    let dashboard = Dashboard::start(None).await;
    for (path, words) in [
        ("/", "no live numbers yet"),
        ("/pipeline", "aiai run dashboard-feed"),
        ("/models?range=30d", "The database is still counting"),
    ] {
        let started = Instant::now();
        let page = dashboard.get(path).await;
        assert!(page.contains(words), "{page}");
        assert!(started.elapsed() < Duration::from_secs(2), "{path}");
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn a_missing_feed_is_named_with_the_command_and_followed_when_it_comes() {
    let dashboard = Dashboard::start(Some(Err(Problem::Failed("no feed".into())))).await;
    assert!(dashboard.get("/").await.contains("aiai run dashboard-feed"));
    let mut live = dashboard.live().await;
    assert!(live.regions().await.contains(&"status".to_owned()));
    dashboard.feed.tell(Ok(overview("planner")));
    while !live.regions().await.contains(&"sources".to_owned()) {}
    dashboard.stop().await;
}

#[tokio::test]
async fn a_view_that_is_none_is_refused_in_words() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    let answer = dashboard.get("/models?range=fortnight").await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("30d"),
        "{answer}"
    );
    dashboard.stop().await;
}

#[tokio::test]
async fn a_stream_sends_everything_once_then_what_changed_and_ends_on_shutdown() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    let mut live = dashboard.live().await;
    assert_eq!(live.line("HTTP/1.1 ").await.unwrap(), "200 OK");
    assert_eq!(live.line("x-accel-buffering: ").await.unwrap(), "no");
    // Until the sink has answered the first time there is nothing about the database.
    while !live.regions().await.contains(&"database".to_owned()) {}

    dashboard.feed.tell(Ok(overview("coder")));
    assert_eq!(live.regions().await, ["sources"]);
    dashboard.feed.tell(Err(Problem::Timeout));
    assert!(live.regions().await.contains(&"status".to_owned()));
    assert!(live.line("id: ").await.unwrap().contains('.'));

    dashboard.shutdown.cancel();
    while live.line("").await.is_some() {}
    dashboard.stop().await;
}

#[tokio::test]
async fn a_viewer_too_many_gets_503_and_a_place_is_given_back() {
    let dashboard = Dashboard::start_with(
        Some(Ok(overview("planner"))),
        Config {
            viewers_max: 1,
            ..Config::default()
        },
    )
    .await;
    let mut first = dashboard.live().await;
    assert_eq!(first.line("HTTP/1.1 ").await.unwrap(), "200 OK");
    let refused = dashboard.get("/live").await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("dashboard.viewers_max"),
        "{refused}"
    );

    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while !dashboard
        .live()
        .await
        .line("HTTP/1.1 ")
        .await
        .unwrap()
        .starts_with("200")
    {
        assert!(Instant::now() < deadline, "the place was not given back");
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn a_viewer_who_does_not_read_holds_up_neither_the_others_nor_the_shutdown() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    let _stuck = dashboard.live().await;
    let mut live = dashboard.live().await;
    for turn in 0..5 {
        // More than a socket buffer holds, if all of them were kept for the stuck one.
        dashboard
            .feed
            .tell(Ok(overview(&format!("{turn}{}", "x".repeat(1_000_000)))));
        while !live.line("data: ").await.unwrap().contains(&format!("{turn}xxx")) {}
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn a_feed_is_followed_only_while_somebody_looks() {
    let dashboard = Dashboard::start(Some(Ok(overview("planner")))).await;
    dashboard.get("/").await;
    assert_eq!(dashboard.feed.asked.load(Ordering::SeqCst), 1);
    let deadline = Instant::now() + PATIENCE;
    while dashboard.feed.passing.receiver_count() > 0 {
        assert!(
            Instant::now() < deadline,
            "nobody looks and the feed is still followed"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A silent feed is asked again, as long as somebody looks.
    let mut live = dashboard.live().await;
    while dashboard.feed.asked.load(Ordering::SeqCst) < 3 {
        live.line("event: ").await.unwrap();
    }
    dashboard.stop().await;
}

#[tokio::test]
async fn a_taken_port_and_an_open_address_name_the_fix() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let error = dashboard::bind(&Config {
        listen,
        ..Config::default()
    })
    .await
    .unwrap_err()
    .to_string();
    for part in [&listen.to_string(), "dashboard.listen", "AIAI__DASHBOARD__LISTEN"] {
        assert!(error.contains(part), "{error}");
    }
    let open = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    };
    let error = dashboard::bind(&open).await.unwrap_err().to_string();
    assert!(error.contains("no authentication"), "{error}");
}
