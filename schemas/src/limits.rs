//! Every limit on what agents send, in one place. Sizes are bytes of UTF-8 after JSON escapes are resolved,
//! unless a limit says otherwise.

/// Bytes in `name`: it becomes a key in tables and rollups.
pub const NAME_BYTES: usize = 256;
/// Bytes in any other short text: source, session, work_item, trace_id, model, provider, channel,
/// project, tenant and so on.
pub const TEXT_BYTES: usize = 256;
/// Bytes in `error`: a message with a short trace, not a log file.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Bytes in `title`.
pub const TITLE_BYTES: usize = 1024;
/// Bytes in `body`, as a JSON string writes it: as much as `data` may have.
pub const BODY_BYTES: usize = DATA_BYTES;
/// Bytes of `distribution` as JSON text: thousands of buckets.
pub const DISTRIBUTION_BYTES: usize = 64 * 1024;
/// Tags of one event: each is a dimension of every rollup.
pub const TAGS: usize = 64;
/// Bytes in a tag's key.
pub const TAG_KEY_BYTES: usize = 256;
/// Bytes in a tag's value.
pub const TAG_VALUE_BYTES: usize = 1024;
/// Bytes of `tags` as JSON text, escapes and blanks included, because that text is what is kept: the largest
/// set of tags (80 KiB) and half as much again.
pub const TAGS_BYTES: usize = 120 * 1024;
/// Bytes of `data`, or `attributes`, as JSON text, because that text is what is kept: two such events fit into one EVENTS message.
pub const DATA_BYTES: usize = 256 * 1024;
/// Levels of arrays and objects in `data`: far below where recursive readers (ours has 128) give up.
pub const DATA_DEPTH: usize = 64;
/// Bytes of `usage` of a model call as JSON text: the largest that providers send are below two.
pub const PROVIDER_USAGE_BYTES: usize = 16 * 1024;
/// Items in one message: bounds the work one message can cause and the dead letters it can leave.
pub const ITEMS: usize = 10_000;
/// How far a timestamp may lie ahead of the time the message was stored, in seconds: clock skew and time zone
/// slips of an hour are let through, the rest would spoil "newest first".
pub const TIMESTAMP_AHEAD_SECONDS: i64 = 3600;
/// Integer timestamps nearer to zero are seconds, not milliseconds: as milliseconds this is March 1973, as
/// seconds the year 5138.
pub const TIMESTAMP_MS_ABS_MIN: u64 = 100_000_000_000;
/// Tokens in one count: no call has as many, and nine million such counts still add up in an `i64`.
pub const TOKENS: u64 = 1_000_000_000_000;
/// Dollars for one call.
pub const COST_USD: i64 = 1_000_000;
/// Milliseconds of a duration: eleven and a half days.
pub const DURATION_MS: f64 = 1e9;
/// The contract version there is.
pub const VERSION: u16 = 1;
/// Bytes of one canonical line, the sum of the limits above with every control character escaped (×6) and room
/// for keys and numbers; an EVENTS message (512 KiB) always has room for one.
pub const LINE_BYTES: usize = 448 * 1024;
