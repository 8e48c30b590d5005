//! [`Encoder`]: from what people type to what a topic holds.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use tanist_actors::topic::TopicCodec;

/// Writes keys and values of one topic.
pub(super) struct Encoder {
    /// None: as they are.
    codec: Option<Arc<dyn TopicCodec>>,
}

impl Encoder {
    /// By the topic's codecs, if there are any.
    pub(super) fn new(codec: Option<Arc<dyn TopicCodec>>) -> Self {
        Self { codec }
    }

    /// A value given as text or as JSON. If the topic's codec reads the text itself, and finds in it what the JSON says,
    /// the text is kept: fields that the app does not know stay in it.
    pub(super) fn value<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let Some(codec) = &self.codec else {
            return Ok(text.into());
        };
        let json = serde_json::from_slice::<Value>(text);
        let written = json
            .as_ref()
            .ok()
            .map(|json| codec.encode(&Value::Null, json));
        match written {
            Some(Ok((_, Some(bytes)))) => {
                let meaning = |bytes| codec.decode(None, Some(bytes)).ok();
                let same = meaning(text).is_some_and(|text| Some(text) == meaning(&bytes));
                Ok(if same { text.into() } else { bytes.into() })
            }
            _ => {
                let text = Value::from(String::from_utf8_lossy(text));
                match (codec.encode(&Value::Null, &text), written) {
                    (Ok((_, value)), _) => Ok(value.unwrap_or_default().into()),
                    // What is wrong with it as JSON says more than that it is no text.
                    (Err(_), Some(Err(error))) | (Err(error), _) => Err(error.to_string()),
                }
            }
        }
    }

    /// A key as [`Encoder::key`], or none.
    pub(super) fn key_if_any(&self, text: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        match (text, &self.codec) {
            (Some(text), _) => self.key(text).map(Some),
            (None, Some(codec)) if !codec.takes_no_key() => {
                Err("its records have keys, and none was given".into())
            }
            (None, _) => Ok(None),
        }
    }

    /// A key given as text, or else as JSON.
    pub(super) fn key(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let Some(codec) = &self.codec else {
            return Ok(text.to_vec());
        };
        let encode = |json: &Value| {
            codec
                .encode(json, &Value::Null)
                .map(|(key, _)| key.unwrap_or_default())
        };
        encode(&Value::from(String::from_utf8_lossy(text))).or_else(|error| {
            let json = serde_json::from_slice::<Value>(text).ok();
            json.and_then(|json| encode(&json).ok())
                .ok_or_else(|| error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use tanist_actors::codec::{Bincode, MessagePack};

    use super::*;
    use crate::prelude::*;

    #[derive(Serialize, Deserialize)]
    struct Visit {
        page: String,
        seconds: u8,
    }

    fn encoder<K: tanist_actors::codec::Data, V: tanist_actors::codec::Data>(
        configure: impl FnOnce(Topic<K, V>) -> Topic<K, V>,
    ) -> Encoder {
        let mut app = App::new("app");
        configure(app.topic::<K, V>("topic"));
        Encoder::new(app.topic_codec("topic"))
    }

    #[test]
    fn json_stays_as_it_was_given_and_other_codecs_translate_it() {
        let text = br#"{"page":"a", "seconds":5, "more":true}"#;
        let json = encoder::<String, Visit>(|topic| topic);
        assert_eq!(*json.value(text).unwrap(), text[..]);
        let packed = encoder::<String, Visit>(|topic| topic.value_codec(MessagePack));
        assert_eq!(
            *packed.value(text).unwrap(),
            *b"\x82\xa4page\xa1a\xa7seconds\x05"
        );
        // `5` is the number, though its byte is a number, too.
        let number = encoder::<String, u8>(|topic| topic.value_codec(Bincode));
        assert_eq!(*number.value(b"5").unwrap(), [5]);
    }

    #[test]
    fn text_and_bytes_are_taken_as_they_are() {
        let string = encoder::<String, String>(|topic| topic);
        assert_eq!(*string.value(b"hello").unwrap(), *b"\"hello\"");
        assert_eq!(*string.value(b"17").unwrap(), *b"\"17\"");
        let bytes = encoder::<Vec<u8>, Vec<u8>>(|topic| topic);
        assert_eq!(*bytes.value(b"hello").unwrap(), *b"hello");
        assert_eq!(bytes.key(b"17").unwrap(), b"17");
        let unknown = Encoder::new(None);
        assert_eq!(*unknown.value(b"\xff{").unwrap(), *b"\xff{");
    }

    #[test]
    fn keys_are_text_or_json() {
        assert_eq!(
            encoder::<String, u8>(|topic| topic).key(b"17").unwrap(),
            b"17"
        );
        assert_eq!(encoder::<u32, u8>(|topic| topic).key(b"17").unwrap(), b"17");
        let pair = encoder::<(String, u32), u8>(|topic| topic);
        assert_eq!(pair.key(br#"["a",1]"#).unwrap(), br#"["a",1]"#);
        assert!(pair.key(b"a").is_err());
    }

    #[test]
    fn a_key_may_be_left_out_where_the_topics_type_has_a_value_for_that() {
        assert_eq!(
            encoder::<Option<String>, u8>(|topic| topic).key_if_any(None),
            Ok(None)
        );
        assert_eq!(Encoder::new(None).key_if_any(None), Ok(None));
        assert!(
            encoder::<String, u8>(|topic| topic)
                .key_if_any(None)
                .is_err()
        );
    }

    #[test]
    fn what_no_agent_could_read_is_refused_with_what_is_missing() {
        let visits = encoder::<String, Visit>(|topic| topic);
        for (text, reason) in [
            (r#"{"page":"a"}"#, "missing field `seconds`"),
            ("hello", "Visit"),
            (r#"{"page":"a","seconds":300}"#, "300"),
        ] {
            let error = visits.value(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
