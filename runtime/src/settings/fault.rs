//! [`SettingFaults`]: all that is wrong with a configuration, in one message.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was given. Later ones win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// In the program, by `App::setting`.
    App,
    /// In a file.
    File(PathBuf),
    /// In the environment, as `TANIST_...`.
    Environment,
    /// On the command line.
    Flag,
}

impl Source {
    /// How `key` is written there.
    fn key(&self, key: &str) -> String {
        match self {
            Self::App => format!("app.setting({key:?}, ...)"),
            Self::File(path) => format!("{}: {key}", path.display()),
            Self::Environment => super::layer::variable(key),
            Self::Flag => match key.strip_prefix(super::KAFKA_PREFIX) {
                Some(property) => format!("--kafka {property}"),
                None => format!("--{}", key.replace('_', "-")),
            },
        }
    }
}

/// Something that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// Where, if it can be told.
    pub(super) source: Option<Source>,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    /// What is wrong, and what would be right.
    pub(super) problem: String,
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.key) {
            (Some(source), Some(key)) => f.write_str(&source.key(key))?,
            (Some(Source::File(path)), None) => write!(f, "{}", path.display())?,
            _ => return f.write_str(&self.problem),
        }
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// See the module. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFaults(pub Vec<SettingFault>);

impl fmt::Display for SettingFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingFaults {}
