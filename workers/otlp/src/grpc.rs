//! OTLP/gRPC: the three services, each with its one call. The same mapping, and the same ids, as over HTTP.
//!
//! The messages are handed on as bytes: what they weigh is looked at before they are decoded.

use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;

use crate::auth;
use crate::body::{self, Share};
use crate::http::App;
use crate::receive::{Encoding, Signal, answer};
use crate::refusal::{RETRY_SECONDS, Refusal};
use crate::status;

/// The frame around a message: a flag and a length.
const FRAME_BYTES: usize = 5;

/// The routes.
pub(crate) fn routes(app: App) -> Router {
    let export = |signal| {
        post(
            move |State(app): State<App>, request: Request| async move { export(signal, app, request).await },
        )
    };
    Router::new()
        .route(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            export(Signal::Traces),
        )
        .route(
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            export(Signal::Metrics),
        )
        .route(
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            export(Signal::Logs),
        )
        .fallback(|| async {
            tonic::Status::unimplemented("only OTLP's services are here").into_http::<Body>()
        })
        .with_state(app)
}

async fn export(signal: Signal, app: App, request: Request) -> Response {
    app.receiver.figures.requests.fetch_add(1, Relaxed);
    let (head, body) = request.into_parts();
    let mut share = app.receiver.memory.share();
    let read = match auth::tenant(&app.tokens, &head.headers) {
        Ok(tenant) => {
            let bytes = body::read(body, app.body_bytes_max + FRAME_BYTES, &mut share).await;
            bytes.map(|bytes| (tenant, bytes))
        }
        Err(refusal) => Err(refusal),
    };
    let (tenant, bytes) = match read {
        Ok(read) => read,
        Err(refusal) => {
            app.receiver.figures.refused.fetch_add(1, Relaxed);
            return refused(&refusal).into_http::<Body>();
        }
    };
    let request = Request::from_parts(head, Body::from(bytes));
    let limit = app.body_bytes_max;
    let mut call = Some((app, tenant, share));
    let service = tower::service_fn(move |message: tonic::Request<Bytes>| {
        let call = call.take();
        async move {
            let (app, tenant, share) = call.ok_or_else(|| tonic::Status::internal("called twice"))?;
            take(signal, &app, &tenant, share, message.into_inner()).await
        }
    });
    let grpc = Grpc::new(Raw).accept_compressed(CompressionEncoding::Gzip);
    let mut grpc = grpc.max_decoding_message_size(limit);
    grpc.unary(service, request).await.into_response()
}

async fn take(
    signal: Signal,
    app: &App,
    tenant: &str,
    share: Share,
    message: Bytes,
) -> Result<tonic::Response<Bytes>, tonic::Status> {
    let taken = app
        .receiver
        .take(signal, Encoding::Protobuf, message, share, tenant)
        .await;
    match taken {
        Ok(taken) => Ok(tonic::Response::new(
            answer(signal, Encoding::Protobuf, &taken).into(),
        )),
        Err(refusal) => {
            app.receiver.figures.refused.fetch_add(1, Relaxed);
            Err(refused(&refusal))
        }
    }
}

fn refused(refusal: &Refusal) -> tonic::Status {
    let details = status::encoded(refusal).into();
    let mut status = tonic::Status::with_details(refusal.code(), refusal.to_string(), details);
    if refusal.is_retryable() {
        let milliseconds = (RETRY_SECONDS * 1000).into();
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", milliseconds);
    }
    status
}

/// Messages as bytes.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
