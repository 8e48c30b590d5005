//! [`Layer`]: settings as one source gives them, as text.

use std::path::Path;

use super::fault::{SettingFault, Source};
use super::rows::find;
use super::{KAFKA_PREFIX, suggest};

/// What the names of all variables begin with.
const PREFIX: &str = "TANIST_";
/// Variables of the scripts that build and test Tanist, which are no settings.
const OF_SCRIPTS: &[&str] = &["TARGET_DIR", "CACHE"];
/// The variable that names the file; no setting itself.
pub(crate) const CONFIG_VARIABLE: &str = "TANIST_CONFIG";
/// The file that is read if it exists and no other is named.
pub(crate) const DEFAULT_FILE: &str = "tanist.toml";

/// Settings of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(super) source: Source,
    /// Names, as rows have them, and values.
    pub(super) entries: Vec<(String, String)>,
    /// What could not be read at all.
    pub(super) faults: Vec<SettingFault>,
}

impl Layer {
    /// What the program or the command line says.
    pub(crate) fn new(source: Source, entries: Vec<(String, String)>) -> Self {
        Self {
            source,
            entries,
            faults: Vec::new(),
        }
    }

    /// The file at `path`.
    pub(crate) fn file(path: &Path) -> Self {
        let fault = |problem: String| Self {
            source: Source::File(path.to_owned()),
            entries: Vec::new(),
            faults: vec![SettingFault {
                source: Some(Source::File(path.to_owned())),
                key: None,
                value: None,
                problem,
            }],
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::toml(path, &text),
            Err(error) => fault(format!(
                "the configuration file cannot be read: {error}; correct the path in --config or {CONFIG_VARIABLE}"
            )),
        }
    }

    fn toml(path: &Path, text: &str) -> Self {
        let mut layer = Self::new(Source::File(path.to_owned()), Vec::new());
        match text.parse::<toml::Table>() {
            Ok(table) => layer.flatten("", &table),
            Err(error) => layer.fault(None, error.to_string().trim_end().to_owned()),
        }
        layer
    }

    /// Names of nested tables are joined by dots.
    fn flatten(&mut self, prefix: &str, table: &toml::Table) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match value {
                toml::Value::Table(inner) => self.flatten(&format!("{name}."), inner),
                toml::Value::String(text) => self.entries.push((name, text.clone())),
                toml::Value::Integer(number) => self.entries.push((name, number.to_string())),
                toml::Value::Float(number) => self.entries.push((name, number.to_string())),
                toml::Value::Boolean(yes) => self.entries.push((name, yes.to_string())),
                toml::Value::Array(_) | toml::Value::Datetime(_) => {
                    let problem = "give a text or a number";
                    self.fault(Some(name), problem.to_owned());
                }
            }
        }
    }

    fn fault(&mut self, key: Option<String>, problem: String) {
        self.faults.push(SettingFault {
            source: Some(self.source.clone()),
            key,
            value: None,
            problem,
        });
    }

    /// What stands in the environment. Other programs have variables that begin like ours (Kubernetes makes some for a
    /// service that is called so): only one that looks like a slip of the pen counts as a fault. The second answer are
    /// those that were passed over.
    pub(crate) fn environment(
        variables: impl Iterator<Item = (String, String)>,
    ) -> (Self, Vec<String>) {
        let mut layer = Self::new(Source::Environment, Vec::new());
        let mut passed_over = Vec::new();
        for (name, value) in variables {
            let Some(rest) = name
                .strip_prefix(PREFIX)
                .filter(|_| name != CONFIG_VARIABLE)
            else {
                continue;
            };
            let key = rest.to_ascii_lowercase();
            if let Some(property) = key.strip_prefix("kafka_") {
                let property = property.replace('_', ".");
                layer
                    .entries
                    .push((format!("{KAFKA_PREFIX}{property}"), value));
            } else if find(&key).is_some() || suggest(&key).is_some() {
                layer.entries.push((key, value));
            } else if !OF_SCRIPTS.contains(&rest) {
                passed_over.push(name);
            }
        }
        layer.entries.sort();
        (layer, passed_over)
    }
}

/// The variable of the setting `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(layer: &Layer) -> Vec<String> {
        let entries = layer.entries.iter();
        entries
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn a_file_is_flat_but_for_the_properties_of_kafka() {
        let layer = Layer::toml(
            Path::new("t.toml"),
            "workers = 2\nguarantee = 'at_least_once'\n[kafka]\n'ssl.ca.location' = 'ca.pem'\nsasl.mechanism = 'PLAIN'\n",
        );
        let mut found = pairs(&layer);
        found.sort();
        assert_eq!(
            found,
            [
                "guarantee=at_least_once",
                "kafka.sasl.mechanism=PLAIN",
                "kafka.ssl.ca.location=ca.pem",
                "workers=2"
            ]
        );
        assert!(layer.faults.is_empty());
    }

    #[test]
    fn what_is_no_toml_or_no_value_is_a_fault_with_its_place() {
        let broken = Layer::toml(Path::new("t.toml"), "workers = \n");
        assert!(broken.faults[0].to_string().starts_with("t.toml: "));
        let list = Layer::toml(Path::new("t.toml"), "workers = [1]\n");
        assert_eq!(
            list.faults[0].to_string(),
            "t.toml: workers: give a text or a number"
        );
    }

    #[test]
    fn variables_of_others_are_passed_over_and_slips_are_not() {
        let variables = [
            ("TANIST_BROKER", "a:1"),
            ("TANIST_KAFKA_SECURITY_PROTOCOL", "ssl"),
            ("TANIST_WORKRES", "2"),
            ("TANIST_SERVICE_HOST", "10.0.0.1"),
            ("TANIST_TARGET_DIR", "target"),
            ("TANIST_CONFIG", "x.toml"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (layer, passed_over) = Layer::environment(variables.into_iter());
        assert_eq!(
            pairs(&layer),
            ["broker=a:1", "kafka.security.protocol=ssl", "workres=2"]
        );
        assert_eq!(passed_over, ["TANIST_SERVICE_HOST"]);
    }
}
