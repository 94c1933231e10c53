//! How live messages stay small: texts and lists are cut, and say so.

use super::{Body, MESSAGE_BYTES_MAX, Message, Overview, Pipeline, TEXT_BYTES};

/// At most [`TEXT_BYTES`] of a text, cut at a character, with `…` where it was.
#[must_use]
pub fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at));
    format!("{}…", &text[..end.unwrap_or(0)])
}

impl Message {
    /// The message as JSON of at most [`MESSAGE_BYTES_MAX`] bytes: lists are cut at their ends until it fits.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let write = |message: &Self| serde_json::to_vec(message).unwrap_or_default();
        let mut json = write(self);
        if json.len() > MESSAGE_BYTES_MAX {
            let mut message = self.clone();
            while json.len() > MESSAGE_BYTES_MAX && message.body.shorten() {
                json = write(&message);
            }
        }
        json
    }
}

impl Body {
    /// Halves the longest of its lists; false: there is nothing left to leave out.
    fn shorten(&mut self) -> bool {
        match self {
            Self::Beat {} => false,
            Self::Alerts(alerts) => halve(alerts) > 0,
            Self::Events(events) => halve(events) > 0,
            Self::Overview(overview) => overview.shorten(),
            Self::Pipeline(pipeline) => pipeline.shorten(),
        }
    }
}

impl Overview {
    fn shorten(&mut self) -> bool {
        let mut left_out = 0;
        if let Some(sink) = &mut self.sink.value {
            left_out += halve(&mut sink.nodes);
            let sources = halve(&mut sink.sources);
            sink.sources_omitted += sources;
            left_out += sources;
        }
        left_out += self.alerts.value.as_mut().map_or(0, halve);
        left_out > 0
    }
}

impl Pipeline {
    fn shorten(&mut self) -> bool {
        let workers = halve(&mut self.workers);
        self.workers_omitted += workers;
        let named = self.ledger.value.as_mut().map_or(0, |ledger| {
            let earlier = halve(&mut ledger.earlier);
            ledger.earlier_omitted += earlier;
            earlier + halve(&mut ledger.current.missing_messages)
        });
        workers + halve(&mut self.dead) + named > 0
    }
}

/// Leaves out the second half; how many those were.
fn halve<T>(list: &mut Vec<T>) -> u64 {
    let kept = list.len() / 2;
    let left_out = list.len() - kept;
    list.truncate(kept);
    left_out as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Sample, Worker};
    use crate::overview;

    fn message(body: Body) -> Message {
        Message {
            feed: "f".into(),
            sequence: 7,
            at_ms: 1,
            body,
        }
    }

    #[test]
    fn a_message_says_who_and_what() {
        let json = String::from_utf8(message(Body::Beat {}).to_json()).unwrap();
        assert_eq!(json, r#"{"feed":"f","sequence":7,"at_ms":1,"beat":{}}"#);
        for body in [
            Body::Beat {},
            Body::Overview(Box::default()),
            Body::Pipeline(Box::default()),
            Body::Events(vec![Sample::default()]),
        ] {
            let message = message(body);
            assert_eq!(
                serde_json::from_slice::<Message>(&message.to_json()).unwrap(),
                message
            );
        }
    }

    #[test]
    fn the_largest_pictures_are_cut_to_fit_and_say_so() {
        let hostile = "\u{1}".repeat(256);
        let worker = Worker {
            worker: hostile.clone(),
            trouble: Some(cut(&"\u{1}".repeat(10_000))),
            ..Worker::default()
        };
        let pipeline = Pipeline {
            workers: vec![worker; 300],
            ..Pipeline::default()
        };
        let json = message(Body::Pipeline(Box::new(pipeline))).to_json();
        assert!(json.len() <= MESSAGE_BYTES_MAX);
        let Body::Pipeline(read) = serde_json::from_slice::<Message>(&json).unwrap().body else {
            panic!("not a pipeline");
        };
        assert!(read.workers_omitted > 0);
        assert_eq!(read.workers.len() as u64 + read.workers_omitted, 300);

        let node = overview::NodeVitals {
            host: hostile,
            cpu_history: vec![Some(1.0 / 3.0); 90],
            ..overview::NodeVitals::default()
        };
        let sink = overview::Overview {
            nodes: vec![node; 256],
            ..overview::Overview::default()
        };
        let mut picture = Overview::default();
        picture.sink.value = Some(sink);
        assert!(message(Body::Overview(Box::new(picture))).to_json().len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"é".repeat(200));
        assert!(long.ends_with("é…") && long.len() <= TEXT_BYTES + 3);
    }
}
