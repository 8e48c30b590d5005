//! Real input: the flights that left New York City in January 2013, counted per airline and per airport, with how many were
//! cancelled and how late the others arrived.
//!
//! ```text
//!          +--(by carrier)--> count-by-carrier: by_carrier (table)
//! flights -+
//!          +--(by origin)---> count-by-origin: by_origin (table)
//! ```
//! `cargo run --example 03_flights -- up` runs a cluster of three nodes in one terminal. Or, in two terminals:
//! ```text
//! cargo run --example 03_flights -- broker
//! cargo run --example 03_flights -- send flights --file examples/data/flights-2013-01.jsonl.gz --timestamp-field scheduled_ms
//! cargo run --example 03_flights -- worker
//! ```
//! and then, while it runs, `get by_origin EWR`, `scan by_carrier`, `status`.

use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use tanist::prelude::*;
use tanist_examples as _; // the allocator

/// See data/README.md.
static FLIGHTS: &[u8] = include_bytes!("data/flights-2013-01.jsonl.gz");

#[derive(Serialize, Deserialize)]
struct Flight {
    flight: String,
    carrier: String,
    tailnum: Option<String>,
    origin: String,
    dest: String,
    scheduled_ms: i64,
    /// None: cancelled.
    departed_ms: Option<i64>,
    /// None: cancelled, diverted or unknown.
    arrival_delay_min: Option<i32>,
    distance_mi: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Punctuality {
    flights: u64,
    cancelled: u64,
    arrived: u64,
    delay_sum_min: i64,
    /// Of those that arrived; early ones count as negative.
    mean_delay_min: f64,
}

impl Punctuality {
    fn add(&mut self, flight: &Flight) {
        self.flights += 1;
        if flight.departed_ms.is_none() {
            self.cancelled += 1;
        }
        if let Some(delay) = flight.arrival_delay_min {
            self.arrived += 1;
            self.delay_sum_min += i64::from(delay);
            self.mean_delay_min = self.delay_sum_min as f64 / self.arrived as f64;
        }
    }
}

/// The same agent serves both tables: it knows the key only as a text.
struct Count(Table<String, Punctuality>);

impl Agent for Count {
    type Key = String;
    type Value = Flight;

    async fn handle(&mut self, flight: Record<String, Flight>, _cx: &mut Context) -> Handled {
        Ok(self.0.update(&flight.key, |sums| sums.add(&flight.value))?)
    }
}

fn flights() -> App {
    let mut app = App::new("flights");
    let flights = app
        .topic::<Option<Vec<u8>>, Flight>("flights")
        // By its timestamps Kafka would find them too old to be kept.
        .setting("retention.ms", "-1")
        .partitions(4);
    let by_carrier = app.table::<String, Punctuality>("by_carrier");
    let by_origin = app.table::<String, Punctuality>("by_origin");

    let of_carrier = flights.group_by("carrier", |flight| flight.value.carrier.clone());
    app.agent("count-by-carrier", of_carrier, move |shard| {
        Count(shard.table(&by_carrier))
    });
    let of_origin = flights.group_by("origin", |flight| flight.value.origin.clone());
    app.agent("count-by-origin", of_origin, move |shard| {
        Count(shard.table(&by_origin))
    });

    app.generator(
        "Send the flights of January 2013",
        async move |args: Generate, client| {
            let mut pace = client.pace(args.rate);
            for line in BufReader::new(GzDecoder::new(FLIGHTS)).lines() {
                let flight: Flight = serde_json::from_str(&line?).map_err(tanist::Error::new)?;
                if !pace.step().await {
                    break;
                }
                let scheduled = Millis(flight.scheduled_ms);
                client.send_at(scheduled, &flights, None, &flight).await?;
            }
            client.flush().await
        },
    );
    app
}

#[derive(clap::Args)]
struct Generate {
    /// Flights a second; 0 is as many as possible
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
}

fn main() -> tanist::Result<()> {
    flights().main()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use tanist::testing::TestApp;

    use super::*;

    fn lines() -> impl Iterator<Item = String> {
        let lines = BufReader::new(GzDecoder::new(FLIGHTS)).lines();
        lines.map(|line| line.expect("the file can be read"))
    }

    /// The same figures without Tanist: (flights, cancelled, arrived, sum of delays) by a field of the raw lines.
    fn expected(field: &str) -> BTreeMap<String, [i64; 4]> {
        let mut sums: BTreeMap<String, [i64; 4]> = BTreeMap::new();
        for line in lines() {
            let flight: Value = serde_json::from_str(&line).expect("each line is JSON");
            let key = flight[field].as_str().expect("a text").to_owned();
            let [flights, cancelled, arrived, delay] = sums.entry(key).or_default();
            *flights += 1;
            *cancelled += i64::from(flight["departed_ms"].is_null());
            *arrived += i64::from(!flight["arrival_delay_min"].is_null());
            *delay += flight["arrival_delay_min"].as_i64().unwrap_or(0);
        }
        sums
    }

    fn counted(test: &mut TestApp, table: &str) -> BTreeMap<String, [i64; 4]> {
        let entries = test.table(table).entries::<String, Punctuality>();
        let sums = |sums: Punctuality| {
            let counts = [sums.flights, sums.cancelled, sums.arrived].map(|count| count as i64);
            [counts[0], counts[1], counts[2], sums.delay_sum_min]
        };
        entries
            .into_iter()
            .map(|(key, entry)| (key, sums(entry)))
            .collect()
    }

    #[test]
    fn the_tables_hold_what_the_file_says_though_the_node_is_killed_on_the_way() {
        let mut test = TestApp::new(flights()).seed(2013);
        let mut at_kills: Vec<i64> = Vec::new();
        for (number, line) in lines().enumerate() {
            let now = test.now();
            test.topic("flights")
                .send_bytes(now, None, Some(line.into_bytes()));
            if number % 3000 == 2999 {
                test.advance(Duration::from_millis(150));
                let counted = counted(&mut test, "by_carrier");
                at_kills.push(counted.values().map(|[flights, ..]| flights).sum());
                test.kill("n1");
                test.start("n1");
            }
        }
        assert!(
            at_kills.iter().any(|counted| *counted > 0),
            "every kill came too early: {at_kills:?}"
        );
        test.settle();

        assert_eq!(counted(&mut test, "by_carrier"), expected("carrier"));
        assert_eq!(counted(&mut test, "by_origin"), expected("origin"));
        // And what awk says of the file.
        let newark: Punctuality = test.table("by_origin").get("EWR").expect("it has flights");
        assert_eq!((newark.flights, newark.cancelled), (9893, 238));
        let hawaiian: Punctuality = test.table("by_carrier").get("HA").expect("it has flights");
        assert_eq!((hawaiian.arrived, hawaiian.delay_sum_min), (31, 852));
        assert!((hawaiian.mean_delay_min - 27.4839).abs() < 1e-4);
    }
}
