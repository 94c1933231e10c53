//! Request and reply: answers in parts, errors, nobody there.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bus::topology::StreamsConfig;
use bus::{Bytes, Endpoint, Error};

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn answers_come_whole_in_order_and_errors_as_errors() {
    let (_server, context) = common::bus_with(&StreamsConfig::default()).await;
    let endpoint = Endpoint {
        name: "echo",
        subject: "query.echo",
        concurrency: 2,
        handler: Arc::new(|mut request| {
            Box::pin(async move {
                let parts: usize = String::from_utf8_lossy(request.payload()).parse().unwrap_or(0);
                if parts == 0 {
                    return request.fail(400, "say how\nmany").await;
                }
                for number in 1..parts {
                    request.part(Bytes::from(format!("{number},"))).await;
                }
                request.end(Bytes::from("end")).await;
            })
        }),
    };
    let serving = context.clone();
    let service = tokio::spawn(async move { serving.serve("query", "test", vec![endpoint]).await });

    let ask = |body: &'static str| context.request("query.echo", "sink", body.into(), TIMEOUT);
    let up = async { while matches!(ask("1").await, Err(Error::NoResponders { .. })) {} };
    tokio::time::timeout(TIMEOUT, up).await.expect("service is up");
    assert_eq!(ask("1").await.expect("one part"), "end");
    assert_eq!(ask("4").await.expect("four parts"), "1,2,3,end");
    match ask("none").await.expect_err("refused") {
        Error::Service { code: 400, text } => assert_eq!(text, "say how many"),
        other => panic!("{other:?}"),
    }
    let error = context
        .request("query.nobody", "sink", Bytes::new(), TIMEOUT)
        .await
        .expect_err("nobody");
    assert!(matches!(error, Error::NoResponders { .. }), "{error:?}");
    assert!(error.to_string().contains("aiai run sink"), "{error}");
    context.shutdown().cancel();
    service.await.expect("joined").expect("stopped");
}
