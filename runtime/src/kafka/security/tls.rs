//! TLS by OpenSSL, which librdkafka brings.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;

use super::Tls;

impl Tls {
    /// Speaks TLS on `stream`, with `host` as who is expected there. Reads the files anew: certificates are renewed.
    pub(in crate::kafka) fn on(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> io::Result<SslStream<TcpStream>> {
        let mut connection = self.connector()?.configure()?;
        connection.set_verify_hostname(self.verifies_host);
        connection
            .connect(host, stream)
            .map_err(|error| io::Error::other(format!("no TLS with {host}: {error}")))
    }

    fn connector(&self) -> Result<SslConnector, io::Error> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        if let Some(path) = &self.authorities {
            let path = Path::new(path);
            let (file, folder) = match path.is_dir() {
                true => (None, Some(path)),
                false => (Some(path), None),
            };
            // These, and not those of the system.
            builder.set_cert_store(X509StoreBuilder::new()?.build());
            let loaded = builder.load_verify_locations(file, folder);
            loaded.map_err(named("ssl.ca.location", path))?;
        }
        if let Some(path) = &self.certificate {
            let loaded = builder.set_certificate_chain_file(path);
            loaded.map_err(named("ssl.certificate.location", Path::new(path)))?;
        }
        match (&self.key, &self.key_password) {
            (Some(path), Some(password)) => {
                let key =
                    PKey::private_key_from_pem_passphrase(&fs::read(path)?, password.as_bytes());
                let key = key.and_then(|key| builder.set_private_key(&key));
                key.map_err(named("ssl.key.location", Path::new(path)))?;
            }
            (Some(path), None) => {
                let loaded = builder.set_private_key_file(path, SslFiletype::PEM);
                loaded.map_err(named("ssl.key.location", Path::new(path)))?;
            }
            (None, _) => {}
        }
        if !self.verifies {
            builder.set_verify(SslVerifyMode::NONE);
        }
        Ok(builder.build())
    }
}

fn named(property: &str, path: &Path) -> impl FnOnce(ErrorStack) -> io::Error {
    move |error| io::Error::other(format!("{property}={}: {error}", path.display()))
}
