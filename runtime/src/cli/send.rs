//! `send`: one record, or a file of them.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tanist_cluster::Millis;
use tokio::sync::mpsc;

use super::Session;
use super::encoder::Encoder;
use super::launch::connect_beside;
use super::progress::Progress;
use super::signals::{before_sending, in_vain, interrupted};
use crate::client::Client;
use crate::error::{Error, Result};

pub(super) const EXAMPLES: &str = r#"Key and value are given as text or JSON, and written as the topic's codecs write them; those of topics that the app does
not declare are sent as they are. The key decides the partition as in Kafka's Java client (murmur2). By timestamps Kafka
decides what is too old to be kept. Without --broker, it is sent to the broker of the node or the local cluster that
runs here, if there is one.

Examples:
  send orders '{"account_id":"a17","product_id":"p3","amount":2,"price":9.5}'
  send orders some-key '{"account_id":"a17","product_id":"p3","amount":2,"price":9.5}'
  send flights --file flights.jsonl.gz --key-field carrier --timestamp-field scheduled_ms"#;

/// How many lines are taken together, and how many of these may wait.
const BATCH_LINES: usize = 256;
const MAX_BATCHES: usize = 4;

/// What lines are read from.
type Source = Box<dyn Read + Send>;

#[derive(Args)]
pub(super) struct SendArgs {
    /// The topic
    topic: String,
    /// [KEY] VALUE: without a key, partitions come in turn
    #[arg(value_name = "KEY VALUE", num_args = 1..=2, required_unless_present = "file")]
    record: Vec<String>,
    /// Send each line of this file (gzip if it ends in .gz; `-` is stdin)
    #[arg(long, conflicts_with = "record")]
    file: Option<PathBuf>,
    /// Send key and value as they are, even if the app could not read them
    #[arg(long)]
    raw: bool,
    /// The field of each line, a JSON object, that is its key
    #[arg(long, value_name = "FIELD", requires = "file")]
    key_field: Option<String>,
    /// The field of each line that is its timestamp, in ms since 1970 [default: the time of sending]
    #[arg(long, value_name = "FIELD", requires = "file")]
    timestamp_field: Option<String>,
}

impl SendArgs {
    fn refused(&self, error: &str) -> String {
        let topic = &self.topic;
        format!("topic {topic} does not take it: {error}; --raw sends it nevertheless")
    }
}

pub(super) async fn run(session: Session, args: SendArgs) -> Result<()> {
    if !args.raw && session.app.is_own_topic(&args.topic) {
        return Err(Error::Usage(args.refused(
            "it is the app's own, and what others write there can break it",
        )));
    }
    let wish = session.wish;
    let open = async {
        let kafka = connect_beside(&session.settings).await?;
        let mut client = Client::open(&kafka, &session.app, wish.clone()).await?;
        client.look_up(&kafka, &args.topic).await?;
        Ok(client)
    };
    let client = before_sending(&wish, &session.settings.broker, open).await?;
    let codec = session.app.topic_codec(&args.topic);
    let encoder = Encoder::new(codec.filter(|_| !args.raw));
    let progress = Progress::new(session.output);
    let sent = client.progress();
    // The first line that was not sent, when not all were.
    let left = Cell::new(None);
    let sending = async {
        match &args.file {
            Some(path) => send_lines(&client, &args, &encoder, path, &left).await?,
            None => send_one(&client, &args, &encoder).await?,
        }
        client.flush().await
    };
    let acknowledged = || sent().acknowledged;
    let is_done = tokio::select! {
        biased;
        done = progress.during(&acknowledged, sending) => done.map(|()| left.get().is_none())?,
        () = in_vain(wish, &sent) => false,
    };
    if is_done {
        return progress.finish(acknowledged());
    }
    let mut text = format!("interrupted: {}", sent());
    if let Some(line) = left.get() {
        text.push_str(&format!("; line {line} and what follows was not sent"));
    }
    Err(interrupted(text))
}

async fn send_one(client: &Client, args: &SendArgs, encoder: &Encoder) -> Result<()> {
    let (key, value) = match &args.record[..] {
        [key, value] => (Some(key.as_bytes()), value),
        [value] => (None, value),
        _ => return Err(Error::Usage("give [KEY] VALUE".into())),
    };
    let refused = |error: String| Error::Usage(args.refused(&error));
    let key = encoder.key_if_any(key).map_err(refused)?;
    let value = encoder.value(value.as_bytes()).map_err(refused)?;
    let (topic, key) = (&args.topic, key.as_deref());
    client.send_bytes(topic, key, Some(&value), None).await
}

async fn send_lines(
    client: &Client,
    args: &SendArgs,
    encoder: &Encoder,
    path: &Path,
    left: &Cell<Option<u64>>,
) -> Result<()> {
    let mut lines = lines(path)?;
    let mut number = 0;
    loop {
        let batch = tokio::select! {
            biased;
            () = client.stopped() => {
                left.set(Some(number + 1));
                return Ok(());
            }
            batch = lines.recv() => batch,
        };
        let Some(batch) = batch else {
            return Ok(());
        };
        for line in batch? {
            number += 1;
            left.set(Some(number));
            if client.is_stopping() {
                return Ok(());
            }
            match Line::read(args, encoder, line.trim_ascii()) {
                Ok(Some(line)) => line.send(client, &args.topic).await?,
                Ok(None) => {}
                Err(error) => return Err(bad_line(client, path, number, &error).await),
            }
            left.set(None);
        }
    }
}

/// What is wrong with a line, and what became of those before it.
async fn bad_line(client: &Client, path: &Path, number: u64, error: &str) -> Error {
    let before = match (number, client.flush().await) {
        (1, _) => "nothing was sent".to_owned(),
        (_, Ok(())) => "the lines before it were sent".to_owned(),
        (_, Err(error)) => {
            format!("how many of the lines before it were sent is not known: {error}")
        }
    };
    Error::Failed(format!(
        "{}, line {number}: {error}; {before}",
        path.display()
    ))
}

/// What is sent for a line.
struct Line<'text> {
    key: Option<Vec<u8>>,
    value: Cow<'text, [u8]>,
    timestamp: Option<Millis>,
}

impl<'text> Line<'text> {
    /// Nothing for an empty one.
    fn read(args: &SendArgs, encoder: &Encoder, text: &'text [u8]) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let (key, timestamp) = fields(text, args)?;
        let refused = |error: String| args.refused(&error);
        Ok(Some(Self {
            key: encoder.key_if_any(key.as_deref()).map_err(refused)?,
            value: encoder.value(text).map_err(refused)?,
            timestamp,
        }))
    }

    async fn send(self, client: &Client, topic: &str) -> Result<()> {
        let (key, value) = (self.key.as_deref(), Some(&*self.value));
        client.send_bytes(topic, key, value, self.timestamp).await
    }
}

/// Some lines, as they came.
type Batch = Result<Vec<Vec<u8>>>;

/// The lines of a file, read on a thread of its own: whoever waits for one can be interrupted. At the end of the process,
/// nobody waits for the thread.
fn lines(path: &Path) -> Result<mpsc::Receiver<Batch>> {
    let mut file = open(path)?;
    let (batches, read) = mpsc::channel(MAX_BATCHES);
    let thread = thread::Builder::new().name("tanist-lines".to_owned());
    thread.spawn(move || {
        loop {
            let batch = batch(&mut file);
            let is_last = batch.as_ref().map_or(true, Vec::is_empty);
            if batches.blocking_send(batch.map_err(Error::from)).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(read)
}

/// As many lines as are there without waiting, but one at least; none at the end.
fn batch(file: &mut BufReader<Source>) -> std::io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    while batch.len() < BATCH_LINES {
        let mut line = Vec::new();
        if file.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        batch.push(line);
        if !file.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(batch)
}

fn open(path: &Path) -> Result<BufReader<Source>> {
    if path == Path::new("-") {
        return Ok(BufReader::new(Box::new(std::io::stdin())));
    }
    let file = File::open(path)
        .map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Source = if packed {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    Ok(BufReader::with_capacity(1 << 16, bytes))
}

/// Key and timestamp of a line, as far as fields of it are asked for.
fn fields(line: &[u8], args: &SendArgs) -> Result<(Option<Vec<u8>>, Option<Millis>), String> {
    if args.key_field.is_none() && args.timestamp_field.is_none() {
        return Ok((None, None));
    }
    let object: Value =
        serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let key = args
        .key_field
        .as_deref()
        .map(|field| key_of(&object, field));
    let timestamp = args.timestamp_field.as_deref();
    let timestamp = timestamp.map(|field| timestamp_of(&object, field));
    Ok((key.transpose()?, timestamp.transpose()?))
}

/// A field as a key: text as it is, everything else as JSON.
fn key_of(object: &Value, field: &str) -> Result<Vec<u8>, String> {
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(Value::Null) | None => Err(format!("it has no field {field:?} for the key")),
        Some(other) => Ok(other.to_string().into_bytes()),
    }
}

fn timestamp_of(object: &Value, field: &str) -> Result<Millis, String> {
    let time = object.get(field).and_then(Value::as_i64);
    // Kafka takes none before 1970.
    let time = time.filter(|time| *time >= 0).map(Millis);
    time.ok_or_else(|| {
        format!("its field {field:?} for the timestamp is no whole number of ms since 1970")
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_text_of_its_field_and_a_missing_one_is_an_error() {
        let key = |line| key_of(&line, "k").map(|key| String::from_utf8(key).unwrap());
        assert_eq!(key(json!({"k": "a b"})), Ok("a b".into()));
        assert_eq!(key(json!({"k": [1, "x"]})), Ok("[1,\"x\"]".into()));
        assert!(
            key(json!({"k": null}))
                .unwrap_err()
                .contains("no field \"k\"")
        );
    }

    /// Has something once, and then nothing more for ever.
    struct Once(Option<&'static [u8]>);

    impl Read for Once {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let mut text = self.0.take().expect("nobody waits for more");
            text.read(into)
        }
    }

    #[test]
    fn lines_that_are_there_are_sent_before_more_is_waited_for() {
        let source: Source = Box::new(Once(Some(b"a\nb\nbegun")));
        let lines = batch(&mut BufReader::new(source)).unwrap();
        assert_eq!(lines, [b"a\n", b"b\n"]);
        let mut empty: BufReader<Source> = BufReader::new(Box::new(io::empty()));
        assert!(batch(&mut empty).unwrap().is_empty(), "that is the end");
    }

    #[test]
    fn a_timestamp_is_a_whole_number_and_anything_else_is_an_error() {
        let timestamp = |line| timestamp_of(&line, "t").map_err(|error| error.contains("\"t\""));
        assert_eq!(
            timestamp(json!({"t": 1357035300000_i64})),
            Ok(Millis(1_357_035_300_000))
        );
        for line in [
            json!({"t": "2013"}),
            json!({"t": 1.5}),
            json!({"t": -1}),
            json!({}),
            json!(1),
        ] {
            assert_eq!(timestamp(line), Err(true));
        }
    }
}
