//! `POST /v1/route`: `route.decide` for who speaks HTTP. The body is passed on as it is, so is the answer.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use crate::server::App;

/// The decision, or `{"error": …}` with a code that says whose fault it is.
pub(crate) async fn decide(State(app): State<App>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    match app.queries.route(body).await {
        Ok(decision) => ([(CONTENT_TYPE, "application/json")], decision).into_response(),
        Err(error) => {
            let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::BAD_GATEWAY);
            problem(code, &error.text)
        }
    }
}

fn problem(code: StatusCode, text: &str) -> Response {
    (code, Json(serde_json::json!({ "error": text }))).into_response()
}
