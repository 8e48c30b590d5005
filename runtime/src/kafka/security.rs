//! [`Security`]: what the client's properties ask of a connection, for those that are made without librdkafka: TLS, and a
//! login by SASL's `PLAIN`.

use std::collections::BTreeMap;
use std::io::{Read, Write};

#[cfg(feature = "tls")]
mod tls;

/// The properties that say how connections are secured, of which those that are not here only librdkafka understands.
const UNDERSTOOD: &[&str] = &[
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
];
const PREFIXES: &[&str] = &["security.", "ssl.", "enable.ssl.", "sasl.", "enable.sasl."];

/// What a connection is spoken on.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// See the module. Not to be logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    pub(super) login: Option<Login>,
}

/// Who logs in, by SASL's `PLAIN`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Files are in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tls {
    /// File or folder of the authorities that are trusted; the system's if none.
    authorities: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    key_password: Option<String>,
    verifies: bool,
    verifies_host: bool,
}

impl Security {
    /// What `properties` ask for; `None` if that is something that only librdkafka can do.
    pub(super) fn of(properties: &BTreeMap<String, String>) -> Option<Self> {
        let get = |name: &str| properties.get(name).cloned();
        let protocol = protocol(properties);
        let (tls, login) = match protocol.as_str() {
            "plaintext" => return Some(Self::default()),
            "ssl" => (true, false),
            "sasl_plaintext" => (false, true),
            "sasl_ssl" => (true, true),
            _ => return None,
        };
        let concerns = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let mut names = properties.keys().map(String::as_str);
        if names.any(|name| concerns(name) && !UNDERSTOOD.contains(&name)) {
            return None;
        }
        let login = match login {
            false => None,
            true if mechanism(properties)?.eq_ignore_ascii_case("plain") => Some(Login {
                username: get("sasl.username")?,
                password: get("sasl.password")?,
            }),
            true => return None,
        };
        if !tls {
            return Some(Self { tls: None, login });
        }
        let authorities = get("ssl.ca.location");
        // A search in places that only it knows.
        if authorities.as_deref() == Some("probe") {
            return None;
        }
        let tls = Tls {
            authorities,
            certificate: get("ssl.certificate.location"),
            key: get("ssl.key.location"),
            key_password: get("ssl.key.password"),
            verifies: flag(properties, "enable.ssl.certificate.verification", SWITCH)?,
            verifies_host: flag(properties, "ssl.endpoint.identification.algorithm", HOST)?,
        };
        Some(Self {
            tls: Some(tls),
            login,
        })
    }
}

/// How librdkafka spells yes and no; case does not matter to it.
type Spellings = [&'static [&'static str]; 2];
const SWITCH: Spellings = [&["true", "t", "1"], &["false", "f", "0"]];
const HOST: Spellings = [&["https"], &["none"]];

/// Yes unless set; `None` if it is spelt otherwise.
fn flag(properties: &BTreeMap<String, String>, name: &str, [yes, no]: Spellings) -> Option<bool> {
    let Some(value) = properties.get(name) else {
        return Some(true);
    };
    let value = value.to_lowercase();
    let is_one_of = |all: &[&str]| all.contains(&value.as_str());
    (is_one_of(yes) || is_one_of(no)).then(|| is_one_of(yes))
}

fn protocol(properties: &BTreeMap<String, String>) -> String {
    let protocol = properties.get("security.protocol");
    protocol.map_or_else(|| "plaintext".into(), |it| it.to_lowercase())
}

/// The property has two names.
fn mechanism(properties: &BTreeMap<String, String>) -> Option<&str> {
    let mechanisms = properties.get("sasl.mechanisms");
    let mechanism = mechanisms.or_else(|| properties.get("sasl.mechanism"));
    mechanism.map(String::as_str)
}

/// What of `properties` this program was not built for.
pub(super) fn fault(properties: &BTreeMap<String, String>) -> Option<String> {
    if cfg!(feature = "tls") {
        return None;
    }
    let protocol = protocol(properties);
    let mechanism = mechanism(properties).unwrap_or_default();
    let asked = match (protocol.contains("ssl"), protocol.contains("sasl")) {
        (true, _) => format!("`security.protocol` is `{protocol}`"),
        (_, true) if mechanism.to_lowercase().starts_with("scram") => {
            format!("`sasl.mechanism` is `{mechanism}`")
        }
        _ => return None,
    };
    Some(format!(
        "the Kafka property {asked}, and this program was built without TLS: have Cargo build the crate `tanist` with the \
         feature `tls`, which takes OpenSSL"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(properties: &[(&str, &str)]) -> Option<Security> {
        let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        Security::of(&properties.iter().map(owned).collect())
    }

    #[test]
    fn what_is_not_understood_is_left_to_librdkafka() {
        let plain = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "u"),
            ("sasl.password", "p"),
        ];
        let login = security(&plain).and_then(|it| it.login);
        assert!(login.is_some_and(|it| (it.username, it.password) == ("u".into(), "p".into())));
        for property in [
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.kerberos.service.name", "kafka"),
            ("ssl.keystore.location", "k.p12"),
            ("security.protocol", "sasl_of_tomorrow"),
        ] {
            let mut properties = plain.to_vec();
            properties.push(property);
            assert!(security(&properties).is_none(), "{property:?}");
        }
        assert!(security(&plain[..3]).is_none(), "no password");
    }

    #[test]
    fn what_does_not_concern_the_connection_is_no_hindrance() {
        for properties in [
            &[][..],
            &[("socket.nagle.disable", "true")],
            &[("ssl.keystore.location", "unused")],
        ] {
            let found = security(properties);
            assert!(found == Some(Security::default()), "{properties:?}");
        }
    }

    #[test]
    fn a_certificate_is_verified_with_its_host_unless_the_properties_say_otherwise() {
        let tls = |more: &[(&str, &str)]| {
            let properties = [&[("security.protocol", "ssl")], more].concat();
            let tls = security(&properties).and_then(|it| it.tls);
            tls.map(|tls| (tls.verifies, tls.verifies_host))
        };
        assert_eq!(tls(&[]), Some((true, true)));
        let (host, all) = (
            "ssl.endpoint.identification.algorithm",
            "enable.ssl.certificate.verification",
        );
        for (name, value, expected) in [
            (host, "none", Some((true, false))),
            (host, "NONE", Some((true, false))),
            (host, "https", Some((true, true))),
            (host, "nobody", None),
            (all, "false", Some((false, true))),
            (all, "0", Some((false, true))),
            (all, "True", Some((true, true))),
            (all, "1", Some((true, true))),
            (all, "yes", None),
            ("ssl.ca.location", "probe", None),
        ] {
            assert_eq!(tls(&[(name, value)]), expected, "{name}={value}");
        }
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn properties_that_need_tls_say_how_to_get_it() {
        for (name, value, needs) in [
            ("security.protocol", "SSL", true),
            ("security.protocol", "sasl_ssl", true),
            ("security.protocol", "sasl_plaintext", false),
            ("sasl.mechanism", "SCRAM-SHA-256", false),
        ] {
            let properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(fault(&properties).is_some(), needs, "{name}={value}");
        }
        let scram = BTreeMap::from([
            ("security.protocol".to_owned(), "sasl_plaintext".to_owned()),
            ("sasl.mechanism".to_owned(), "SCRAM-SHA-256".to_owned()),
        ]);
        assert!(fault(&scram).is_some_and(|fault| fault.contains("feature `tls`")));
    }
}
