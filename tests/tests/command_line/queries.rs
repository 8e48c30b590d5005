//! Asking: a node answers with what is committed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::orders;

const ORDER: &str = r#"{"account_id":"a1","product_id":"p","amount":2,"price":1.5}"#;

#[test]
fn get_and_scan_show_what_is_committed_and_say_what_is_not_there() {
    let (_broker, program) = orders();
    for account in ["a1", "a2", "a2", "b/ä 1"] {
        program.answer(&["send", "orders", &ORDER.replace("a1", account)]);
    }
    let mut worker = program.worker(&[]);
    worker.until("all is counted", |_| {
        (program.json(&["status"])["records"] == 8).then_some(())
    });
    assert_eq!(
        program.answer(&["get", "order_count", "a2"]),
        "{\"count\":2,\"total\":6.0}\n"
    );
    assert_eq!(
        program.json(&["get", "order_count", "b/ä 1"]),
        json!({"table": "order_count", "key": "b/ä 1", "value": {"count": 1, "total": 3.0}})
    );
    let scan = |args: &[&str]| {
        let text = program.answer(&[&["scan", "order_count"], args].concat());
        let keys = text.lines().filter_map(|line| line.split('\t').next());
        keys.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(scan(&[]), ["a1", "a2", "b/ä 1"]);
    assert_eq!(scan(&["--prefix", "a", "--limit", "1"]), ["a1"]);
    assert_eq!(scan(&["--from", "a2", "--to", "b"]), ["a2"]);
    for (args, code, message) in [
        (
            ["get", "order_count", "a3"],
            4,
            "table order_count has no key a3",
        ),
        (
            ["get", "orders", "a1"],
            2,
            "there is no table orders; there is order_count",
        ),
    ] {
        let ended = program.run(&args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(message), "{args:?}: {ended:?}");
    }
    assert_eq!(worker.interrupt().code, Some(0));
}

#[test]
fn status_tells_shards_positions_and_lag() {
    let (_broker, program) = orders();
    let mut worker = program.worker(&[]);
    program.answer(&["generate", "--rate", "0", "--records", "300"]);
    let status = worker.until("the lag is gone", |_| {
        let status = program.json(&["status"]);
        (status["records"] == 600 && status["lag_records"] == 0).then_some(status)
    });
    assert_eq!(
        (&status["app"], &status["broker"]["reachable"]),
        (&json!("orders"), &json!(true))
    );
    let shards = status["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 16);
    let mut records = 0;
    for shard in shards {
        assert_eq!(
            (&shard["role"], &shard["state"]),
            (&json!("active"), &json!("running"))
        );
        for input in shard["inputs"].as_array().unwrap() {
            // In the other topic, the position may have passed markers of transactions that no commit tells of.
            if input["topic"] == "orders" {
                assert_eq!(input["committed"], input["position"]);
                records += input["committed"].as_i64().unwrap();
            }
        }
    }
    assert_eq!(records, 300);
    let text = program.answer(&["status"]);
    assert!(
        text.contains("600 records processed") && text.contains("\norders/7 "),
        "{text}"
    );
}

#[test]
fn whoever_asks_where_no_node_is_hears_so() {
    let (_broker, program) = orders();
    for args in [
        &["status"][..],
        &["get", "order_count", "a"],
        &["scan", "order_count"],
    ] {
        let ended = program.run(args);
        assert_eq!(ended.code, Some(6), "{args:?}: {ended:?}");
        assert!(
            ended
                .stderr
                .contains("no node of app orders is running here"),
            "{ended:?}"
        );
    }
    // A node was there, and was killed.
    let worker = program.worker(&[]);
    worker.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(worker.wait().code, None);
    assert_eq!(program.run(&["status"]).code, Some(6));
}

#[test]
fn topology_shows_what_is_declared_and_with_a_broker_what_is_there() {
    let (broker, program) = orders();
    let topics = |topology: &Value| {
        let topics = topology["topics"].as_array().unwrap().iter();
        topics
            .map(|topic| {
                (
                    topic["name"].clone(),
                    topic["partitions"].clone(),
                    topic["exists"].clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    let before = program.json(&["topology"]);
    assert_eq!(
        topics(&before)[0],
        (json!("orders"), json!(8), json!(false))
    );
    broker.raw().create_topic("orders", 8, &[]);
    let after = program.json(&["topology"]);
    assert_eq!(topics(&after)[0], (json!("orders"), json!(8), json!(true)));
    let diagram = program.answer(&["topology", "--mermaid"]);
    assert!(diagram.starts_with("flowchart LR\n"), "{diagram}");
    let alone = program.without_variables().json(&["topology"]);
    assert_eq!(topics(&alone)[0].2, Value::Null);
}

#[test]
fn who_does_not_speak_http_is_no_error_of_the_node() {
    let (_broker, program) = orders();
    let worker = program.worker(&[]);
    let address = fs::read_to_string(program.folder().join(".tanist/orders/http")).unwrap();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..],
        b"hello\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address.trim()).unwrap();
        stream.write_all(garbage).unwrap();
        // Until it hangs up.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let log = worker.stderr();
    worker.stop();
    assert!(!log.contains("ERROR"), "{log}");
}
