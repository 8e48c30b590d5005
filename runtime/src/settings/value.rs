//! Reads what people write: spans of time, amounts of memory, addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tanist_actors::worker::Guarantee;
use tracing_subscriber::filter::LevelFilter;

/// A span of time with its unit, as `100ms`, `1.5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let unit_seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and a unit: us, ms, s, m or h, as in `100ms`".into()),
    };
    let seconds = number.parse::<f64>().map(|number| number * unit_seconds);
    seconds
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number and a unit: us, ms, s, m or h, as in `100ms`".into())
}

/// As [`duration`], and longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".into()),
        duration => Ok(duration),
    }
}

/// An amount of memory, as `1000000`, `64MiB`, `1GB`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = number_and_unit(text);
    let unit_bytes: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => return Err(BYTES.into()),
    };
    let whole = number.parse::<usize>().ok();
    whole
        .and_then(|number| number.checked_mul(unit_bytes))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| BYTES.into())
}

const BYTES: &str = "give a whole number of bytes above 0, or one with a unit, as in `64MiB`";

/// A whole number, 1 or more.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "give a whole number, 1 or more".into())
}

/// A whole number.
pub(crate) fn whole(text: &str) -> Result<u32, String> {
    let number = text.trim().parse().ok();
    number.ok_or_else(|| "give a whole number".into())
}

/// Bootstrap addresses.
pub(crate) fn brokers(text: &str) -> Result<String, String> {
    let has_port = |address: &str| {
        let port = address.rsplit_once(':').map(|(host, port)| {
            (!host.is_empty())
                .then(|| port.parse::<u16>().ok())
                .flatten()
        });
        port.flatten().is_some()
    };
    let addresses: Vec<&str> = text.split(',').map(str::trim).collect();
    if addresses.iter().all(|address| has_port(address)) {
        return Ok(addresses.join(","));
    }
    Err("give host:port, several separated by commas".into())
}

/// An address to listen at.
pub(crate) fn listened(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        "give an address of this machine and a port, as in `127.0.0.1:8080`; port 0 is any free one".to_owned()
    })
}

/// An address at which others reach what listens here.
pub(crate) fn advertised(text: &str) -> Result<(String, u16), String> {
    const FORM: &str = "give host:port, as in `orders-1.example:8080` or `[2001:db8::1]:8080`";
    let (host, port) = text.trim().rsplit_once(':').ok_or(FORM)?;
    let port = port.parse().map_err(|_| FORM)?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let (ip, is_name): (Option<IpAddr>, _) = match bracketed {
        Some(ip) => (ip.parse::<Ipv6Addr>().ok().map(IpAddr::V6), false),
        None => (host.parse::<Ipv4Addr>().ok().map(IpAddr::V4), true),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if ip.is_none() && !(is_name && !host.is_empty() && host.chars().all(fits)) {
        return Err(FORM.into());
    }
    if ip.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(
            "nobody reaches a node there: give an address that leads to this one alone".into(),
        );
    }
    Ok((host.to_owned(), port))
}

/// By its name, as in Kafka Streams.
pub(crate) fn guarantee(text: &str) -> Result<Guarantee, String> {
    match text.trim() {
        "exactly_once" => Ok(Guarantee::ExactlyOnce),
        "at_least_once" => Ok(Guarantee::AtLeastOnce),
        "at_most_once" => Ok(Guarantee::AtMostOnce),
        _ => Err("give exactly_once, at_least_once or at_most_once".into()),
    }
}

/// A name that can stand in a file name and a Kafka topic.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 100 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("give 1 to 100 letters, digits, `-`, `_` or `.`".into())
}

/// Checks a filter for the log. A word that is no level would be a target, of which everything is told, and of all others
/// nothing: it is a slip of the pen.
pub(crate) fn log_filter(text: &str) -> Result<String, String> {
    let is_meant = |part: &str| part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok();
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if text.split(',').all(is_meant) => Ok(text.to_owned()),
        _ => Err(
            "give a level (off, error, warn, info, debug, trace) or `target=level`, several separated by commas, as in \
             `info,tanist=debug`"
                .into(),
        ),
    }
}

/// A path.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("give a path".into()),
        path => Ok(path.into()),
    }
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    (number.trim_end(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_needs_its_unit() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("100ms", Some(ms(100))),
            (" 1.5 s ", Some(ms(1500))),
            ("2m", Some(ms(120_000))),
            ("0s", Some(ms(0))),
            ("100", None),
            ("ms", None),
            ("-1s", None),
            ("1e999s", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        assert!(positive_duration("0ms").is_err());
    }

    #[test]
    fn an_address_that_is_advertised_leads_to_one_node() {
        for (text, expected) in [
            ("orders-1.example:8080", Some(("orders-1.example", 8080))),
            (" 10.0.0.5:0 ", Some(("10.0.0.5", 0))),
            ("[2001:db8::1]:80", Some(("[2001:db8::1]", 80))),
            ("2001:db8::1:80", None),
            ("[10.0.0.5]:80", None),
            ("http://orders-1:80", None),
            ("orders-1", None),
            (":80", None),
            ("orders-1:99999", None),
            ("orders 1:80", None),
            ("0.0.0.0:80", None),
            ("[::]:80", None),
            ("224.0.0.1:80", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(advertised(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn memory_is_counted_in_bytes_or_with_a_unit() {
        for (text, expected) in [
            ("1000", Some(1000)),
            ("64MiB", Some(64 << 20)),
            ("1 gb", Some(1_000_000_000)),
            ("16k", Some(16 << 10)),
            ("0", None),
            ("1.5MiB", None),
            ("99999999999GiB", None),
            ("64 MBit", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_log_is_filtered_by_levels_and_a_word_that_is_none_is_a_slip_of_the_pen() {
        for text in [
            "info",
            "WARN",
            "off",
            "tanist=debug",
            "info,tanist=debug,actix_http=off",
            "tanist[commit{shard=orders}]=trace",
        ] {
            assert_eq!(log_filter(text).as_deref(), Ok(text));
        }
        for text in ["nonsense", "inof", "info,tanist", "tanist=loud", "a=b=c"] {
            let problem = log_filter(text).unwrap_err();
            assert!(
                problem.starts_with("give a level (off, error, "),
                "{text}: {problem}"
            );
        }
    }

    #[test]
    fn brokers_have_ports() {
        assert_eq!(brokers("a:1, b:2"), Ok("a:1,b:2".into()));
        for text in ["", "a", "a:", ":9092", "a:1,", "a:1,b", "a:99999"] {
            assert!(brokers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_listens_at_an_address_and_a_port() {
        for text in ["127.0.0.1:0", "[::1]:80", "10.0.0.5:8080", "0.0.0.0:80"] {
            assert!(listened(text).is_ok(), "{text}");
        }
        for text in ["127.0.0.1", "localhost:80", "10.0.0.5:99999"] {
            assert!(listened(text).is_err(), "{text}");
        }
    }
}
