//! Opens the configured store.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::AppError;
use crate::clock::Clock;
use crate::config::{EtcdConfig, EtcdTls, RegistryConfig, StoreKind};
use crate::store::Store;
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::etcd::{
    ClientIdentity, ConnectError, Credentials, EtcdOptions, EtcdStore, TlsOptions, Verification,
};

/// How long a node waits between two tries to reach etcd.
const RETRY: Duration = Duration::from_millis(500);
/// How often a node that waits for etcd says so.
const COMPLAINT: Duration = Duration::from_secs(3);

/// Opens it; an etcd that is not there is waited for, with a word every few seconds. An error is one that waiting does
/// not mend.
pub async fn open(config: &RegistryConfig, clock: &Clock) -> Result<Arc<dyn Store>, AppError> {
    match &config.kind {
        StoreKind::Embedded { dir } => {
            let store = EmbeddedStore::open(dir, Options::default(), clock.clone())?;
            log::info!("store: embedded, in {}", dir.display());
            Ok(Arc::new(store))
        }
        StoreKind::Etcd(etcd) => {
            let store = wait_for_etcd(etcd_options(etcd)?, clock).await?;
            let endpoints: Vec<String> = etcd.endpoints.iter().map(ToString::to_string).collect();
            log::info!("store: etcd, at {}", endpoints.join(", "));
            Ok(Arc::new(store))
        }
    }
}

async fn wait_for_etcd(options: EtcdOptions, clock: &Clock) -> Result<EtcdStore, AppError> {
    let mut complained = None;
    loop {
        match EtcdStore::connect(options.clone()).await {
            Ok(store) => return Ok(store),
            Err(ConnectError::Unreachable(why)) => {
                let now = clock.monotonic();
                if complained.is_none_or(|last| now.saturating_sub(last) >= COMPLAINT) {
                    log::warn!("waiting for etcd at {}: {why}", options.endpoints.join(", "));
                    complained = Some(now);
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn etcd_options(config: &EtcdConfig) -> Result<EtcdOptions, AppError> {
    Ok(EtcdOptions {
        endpoints: config.endpoints.iter().map(ToString::to_string).collect(),
        tls: config.tls.as_ref().map(tls_options).transpose()?,
        credentials: config.login.as_ref().map(|(user, password)| Credentials {
            user: user.clone(),
            password: password.reveal().to_owned(),
        }),
        connect_timeout: config.connect_timeout,
        request_timeout: config.request_timeout,
    })
}

fn tls_options(config: &EtcdTls) -> Result<TlsOptions, AppError> {
    let identity = config.identity.as_ref().map(|(certificate, key)| {
        Ok::<_, AppError>(ClientIdentity { certificate: read(certificate)?, key: read(key)? })
    });
    Ok(TlsOptions {
        ca: Some(read(&config.ca_file)?),
        identity: identity.transpose()?,
        server_name: config.server_name.clone(),
        verification: if config.verifies_name { Verification::Full } else { Verification::AuthorityOnly },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, AppError> {
    fs::read(path).map_err(AppError::file(path))
}
