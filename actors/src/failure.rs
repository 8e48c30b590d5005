//! [`Failure`]: why a handler could not do its work.

use std::fmt;

/// What a handler answers.
pub type Handled<T = ()> = Result<T, Failure>;

/// An error of any type, as a handler passes it on with `?`, or a text. What the handler has done for the record is undone
/// (S2); what comes next is decided by the agent's supervision.
///
/// Like `anyhow::Error` it takes every error, and hence is none itself.
///
/// ```
/// # use tanist_actors::failure::Handled;
/// fn price(text: &str) -> Handled<f64> {
///     if text.is_empty() {
///         return Err("an order without a price".into());
///     }
///     let price: f64 = text.parse()?;
///     match price.is_finite() {
///         true => Ok(price),
///         false => Err(format!("a price of {price}"))?,
///     }
/// }
/// assert_eq!(price("").unwrap_err().to_string(), "an order without a price");
/// assert_eq!(price("free").unwrap_err().to_string(), "invalid float literal");
/// assert_eq!(price("inf").unwrap_err().to_string(), "a price of inf");
/// ```
pub struct Failure(Box<dyn std::error::Error + 'static>);

impl Failure {
    /// A failure with a message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string().into())
    }
}

impl<E: Into<Box<dyn std::error::Error + 'static>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Failure {
    /// The error, and behind it what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({self})")
    }
}
