//! What links are protected with: a certificate from elsewhere, or one the server makes for itself.

use crate::config::Tls;
use crate::storage::private_file;
use rcgen::{CertificateParams, DnType, KeyPair};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why there is no certificate to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file holds no certificate or key in PEM.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// The certificate and the key do not fit each other, or TLS cannot use them.
    #[error("the certificate cannot be used")]
    Use(#[from] rustls::Error),
}

/// What protects the links of one server.
pub(crate) struct Protection {
    /// `None` for links without TLS.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// What clients must be told to trust.
    pub(crate) certificate: Option<PathBuf>,
}

/// Finds or makes the certificate.
pub(crate) fn protection(tls: &Tls, data: &Path, listen: SocketAddr) -> Result<Protection, CertificateError> {
    let (certificate, key) = match tls {
        Tls::Plain => return Ok(Protection { acceptor: None, certificate: None }),
        Tls::Files { certificate, key } => (certificate.clone(), key.clone()),
        Tls::SelfSigned => {
            let (certificate, key) = (data.join("certificate.pem"), data.join("key.pem"));
            // The certificate comes last when both are made: where it is, the key is.
            if !certificate.exists() {
                make(&certificate, &key, listen.ip())?;
            }
            (certificate, key)
        }
    };
    let chain = CertificateDer::pem_file_iter(&certificate).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|source| CertificateError::Read { path: certificate.clone(), source })?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|source| CertificateError::Read { path: key, source })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Protection { acceptor: Some(TlsAcceptor::from(Arc::new(config))), certificate: Some(certificate) })
}

/// Makes a certificate for this machine that is its own trust anchor: clients trust the file itself.
///
/// It is no authority, so that whoever takes the key can pose as this server only.
fn make(certificate: &Path, key: &Path, listen: IpAddr) -> Result<(), CertificateError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let listen = listen.to_string();
    if !names.contains(&listen) {
        names.push(listen);
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Backscroll server");
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    write_durably(key, &pair.serialize_pem())?;
    write_durably(certificate, &made.pem())
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_durably(path: &Path, text: &str) -> Result<(), CertificateError> {
    let unfinished = path.with_extension("new");
    let written = (|| {
        private_file(&unfinished)?;
        let mut file = File::options().write(true).truncate(true).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    written.map_err(|source| CertificateError::Write { path: path.to_owned(), source })
}
