//! The rules of the house that no compiler holds: which crate may depend on which, and which file may name what.
//!
//! Each rule is a row of a table below, with its reason. A finding names file, line, rule and reason; who has good cause
//! to break a rule changes its row, and says why.

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;
use source::Source;

/// What a crate of the workspace may depend on. Development dependencies count too.
struct CrateRule {
    package: &'static str,
    /// The crates of this workspace that it may use.
    uses: &'static [&'static str],
    /// Crates from outside that would turn it into something else.
    never: &'static [&'static str],
    why: &'static str,
}

const CRATES: &[CrateRule] = &[
    CrateRule {
        package: "tanist-cluster",
        uses: &[],
        never: &[
            "tokio",
            "actix",
            "actix-web",
            "rdkafka",
            "rocksdb",
            "kafka-protocol",
        ],
        why: "who owns what is decided by pure functions over values, so that a model checker can run them",
    },
    CrateRule {
        package: "tanist-broker",
        uses: &[],
        never: &["actix", "actix-web", "rdkafka", "rocksdb"],
        why: "the embedded broker stands beside the app, like Kafka, and shares no code with what it is to test",
    },
    CrateRule {
        package: "tanist-actors",
        uses: &["tanist-cluster"],
        never: &["actix-web", "rdkafka", "rocksdb", "kafka-protocol"],
        why: "what runs is reached by the world only through ports, so that it runs on memory and virtual time too",
    },
    CrateRule {
        package: "tanist",
        uses: &["tanist-cluster", "tanist-broker", "tanist-actors"],
        never: &[],
        why: "dependencies point one way: cluster <- actors <- runtime <- examples, tests",
    },
    CrateRule {
        package: "tanist-examples",
        uses: &["tanist"],
        never: &["actix", "actix-web", "rdkafka", "rocksdb"],
        why: "an example shows what a user can write with the public crate alone",
    },
    CrateRule {
        package: "tanist-tests",
        uses: &["tanist", "tanist-broker", "tanist-actors", "tanist-cluster"],
        never: &[],
        why: "end-to-end tests go through what users and Kafka see, and one list of cases goes through the ports",
    },
    CrateRule {
        package: "tanist-bench",
        uses: &[
            "tanist",
            "tanist-actors",
            "tanist-broker",
            "tanist-cluster",
            "tanist-tests",
        ],
        never: &["actix", "actix-web"],
        why: "benchmarks run what users run, and look into the stores that it leaves behind",
    },
];

/// Words that only some files may contain, outside of comments and literals.
struct WordRule {
    words: &'static [&'static str],
    /// `a/b/` is all below a folder, `a/**/c.rs` a file name anywhere below a folder, anything else one file.
    only_in: &'static [&'static str],
    why: &'static str,
}

const WORDS: &[WordRule] = &[
    WordRule {
        words: &["actix", "actix_rt"],
        only_in: &[
            "actors/**/shell.rs",
            "runtime/**/shell.rs",
            "runtime/src/http/",
        ],
        why: "actix is passively maintained: behind thin shells it can be exchanged",
    },
    WordRule {
        words: &["actix_web"],
        only_in: &["runtime/src/http/"],
        why: "HTTP is one face of the runtime, not a part of its inside",
    },
    WordRule {
        words: &["rdkafka", "rdkafka_sys"],
        only_in: &["runtime/src/kafka/", "tests/"],
        why: "Kafka is one implementation of the log port; the memory one must be able to take its place",
    },
    WordRule {
        words: &["rocksdb"],
        only_in: &["runtime/src/store/", "tests/bench/"],
        why: "RocksDB is one implementation of the store port; the memory one must be able to take its place",
    },
    WordRule {
        words: &["SystemTime::now", "Instant::now"],
        only_in: &[
            "actors/**/clock.rs",
            "runtime/**/clock.rs",
            "cluster/broker/**/clock.rs",
            "cluster/benches/",
            "tests/",
            "**/tests.rs",
        ],
        why: "decisions take time as an argument, so that tests and simulations can move it; tests and benchmarks may measure",
    },
    WordRule {
        words: &["unsafe"],
        only_in: &[
            "runtime/src/kafka/raw.rs",
            "runtime/src/kafka/raw/",
            "tests/bench/src/raw.rs",
        ],
        why: "raw calls of librdkafka stand together, with their argument",
    },
    WordRule {
        words: &["do_send"],
        only_in: &[],
        why: "it ignores the bound of the mailbox; use try_send and handle a full one",
    },
];

/// Longest file, in lines. Longer ones hold more than one noun.
const MAX_LINES: usize = 600;

#[test]
fn crates_depend_only_in_the_direction_of_the_design() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata works in the checkout");
    let dependencies: BTreeMap<String, Vec<String>> = metadata
        .packages
        .iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .map(|dependency| dependency.name.to_string());
            (package.name.to_string(), names.collect())
        })
        .collect();
    assert_no_findings(check_crates(&dependencies));
}

#[test]
fn source_files_keep_the_rules_of_the_house() {
    let files = rust_files(&root());
    assert!(
        files.len() > 10,
        "found only {} source files below {}",
        files.len(),
        root().display()
    );
    let findings = files.iter().flat_map(|path| {
        let text = fs::read_to_string(root().join(path)).expect("a source file is readable UTF-8");
        check_file(&path.to_string_lossy(), &text)
    });
    assert_no_findings(findings.collect());
}

fn check_crates(dependencies: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut findings = Vec::new();
    for (package, uses) in dependencies {
        let Some(rule) = CRATES.iter().find(|rule| rule.package == package) else {
            findings.push(format!(
                "{package}: has no rule yet; give it its place in the direction of the crates"
            ));
            continue;
        };
        for used in uses {
            let of_workspace = dependencies.contains_key(used);
            if (of_workspace && !rule.uses.contains(&used.as_str()))
                || rule.never.contains(&used.as_str())
            {
                findings.push(format!("{package}: may not depend on {used}: {}", rule.why));
            }
        }
    }
    findings
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let source = Source::new(text);
    let mut findings = Vec::new();
    for rule in WORDS
        .iter()
        .filter(|rule| !rule.only_in.iter().any(|place| is_in(path, place)))
    {
        for word in rule.words {
            for line in source.lines_with(word) {
                let places = if rule.only_in.is_empty() {
                    "nowhere".into()
                } else {
                    rule.only_in.join(", ")
                };
                findings.push(format!(
                    "{path}:{line}: `{word}` may stand only in: {places}: {}",
                    rule.why
                ));
            }
        }
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(format!(
            "{path}:{lines}: has more than {MAX_LINES} lines: split it by its nouns"
        ));
    }
    if path.ends_with("src/lib.rs") && !text.starts_with("//!") {
        findings.push(format!(
            "{path}:1: a crate opens with its documentation: the way a record goes through it"
        ));
    }
    findings
}

/// Whether `path` is at a place written as in [`WordRule::only_in`].
fn is_in(path: &str, place: &str) -> bool {
    if let Some((folder, name)) = place.split_once("**/") {
        path.starts_with(folder) && path.rsplit('/').next() == Some(name)
    } else if place.ends_with('/') {
        path.starts_with(place)
    } else {
        path == place
    }
}

/// All Rust files of the checkout, relative to its root, in order.
fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the checkout is readable") {
            let path = entry.expect("an entry of a folder is readable").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(
                    path.strip_prefix(root)
                        .expect("is below the root")
                        .to_path_buf(),
                );
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn assert_no_findings(findings: Vec<String>) {
    assert!(
        findings.is_empty(),
        "{} broken rules of the house:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

#[test]
fn a_crate_that_points_the_wrong_way_is_found() {
    let check = |package: &str, uses: &str| {
        let uses = uses.split_whitespace().map(String::from).collect();
        let mut dependencies: BTreeMap<String, Vec<String>> = CRATES
            .iter()
            .map(|rule| (rule.package.into(), Vec::new()))
            .collect();
        dependencies.insert(package.into(), uses);
        check_crates(&dependencies).len()
    };
    assert_eq!(check("tanist-cluster", "serde thiserror"), 0);
    assert_eq!(check("tanist-cluster", "serde tokio tanist-actors"), 2);
    assert_eq!(check("tanist-actors", "tanist-cluster actix"), 0);
    assert_eq!(check("tanist-actors", "tanist-broker"), 1);
    assert_eq!(check("tanist-broker", "tanist-actors tanist"), 2);
    assert_eq!(check("tanist-new", "serde"), 1);
}

#[test]
fn a_word_in_the_wrong_place_is_found() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let findings = check_file(path, text);
        assert_eq!(findings.len(), expected.len(), "{path}: {findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(
                finding.starts_with(expected),
                "{finding} does not start with {expected}"
            );
        }
    };
    check("actors/src/mailbox/shell.rs", "use actix::Actor;\n", &[]);
    check(
        "actors/src/mailbox.rs",
        "\nuse actix::Actor;\n",
        &["actors/src/mailbox.rs:2: `actix`"],
    );
    check(
        "actors/src/mailbox.rs",
        "// why not actix\nlet a = \"rdkafka\";\n",
        &[],
    );
    check("runtime/src/http/server.rs", "use actix_web::App;\n", &[]);
    check(
        "runtime/src/worker/shell.rs",
        "use actix_web::App;\n",
        &["runtime/src/worker/shell.rs:1: `actix_web`"],
    );
    check(
        "runtime/src/kafka/consumer.rs",
        "use rdkafka::ClientConfig;\n",
        &[],
    );
    check(
        "runtime/src/app.rs",
        "use rdkafka::X; use rocksdb::Y;\n",
        &[
            "runtime/src/app.rs:1: `rdkafka`",
            "runtime/src/app.rs:1: `rocksdb`",
        ],
    );
    check("runtime/src/clock.rs", "Instant::now()", &[]);
    check(
        "runtime/src/node.rs",
        "let a = std::time::Instant::now();",
        &["runtime/src/node.rs:1: `Instant::now`"],
    );
    check("runtime/src/node.rs", "let a = MyInstant::now();", &[]);
    check("cluster/src/placement/tests.rs", "Instant::now()", &[]);
    check(
        "cluster/src/clock.rs",
        "SystemTime::now()",
        &["cluster/src/clock.rs:1: `SystemTime::now`"],
    );
    check("runtime/src/kafka/raw.rs", "unsafe { f() }", &[]);
    check(
        "runtime/src/kafka/consumer.rs",
        "unsafe { f() }",
        &["runtime/src/kafka/consumer.rs:1: `unsafe`"],
    );
    check(
        "tests/tests/x.rs",
        "a.do_send(b)",
        &["tests/tests/x.rs:1: `do_send`"],
    );
    check(
        "cluster/src/view.rs",
        &"//\n".repeat(601),
        &["cluster/src/view.rs:601: has more than 600 lines"],
    );
    check(
        "cluster/src/lib.rs",
        "mod view;\n",
        &["cluster/src/lib.rs:1: a crate opens"],
    );
}
