//! Opens the configured store.

use std::sync::Arc;
use std::time::Duration;

use super::error::AppError;
use crate::clock::Clock;
use crate::config::{EtcdConfig, EtcdEndpoint, EtcdTls, StoreKind};
use crate::store::Store;
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::etcd::{
    ClientIdentity, ConnectError, Credentials, EtcdOptions, EtcdStore, LONGEST_CALL, TlsOptions, Verification,
};
use crate::tls::files::FileSets;
use crate::trouble::Trouble;

/// The wait between two tries to reach etcd.
const RETRY: Duration = Duration::from_millis(500);

/// Opens the store. Waits for etcd until it is reachable. An error is one that does not go away by waiting. The files of etcd's
/// certificates are added to `file_sets`.
pub async fn open(kind: &StoreKind, clock: &Clock, file_sets: &FileSets) -> Result<Arc<dyn Store>, AppError> {
    match kind {
        StoreKind::Embedded { dir } => {
            let store = EmbeddedStore::open(dir, Options::default(), clock.clone())?;
            log::info!("store: embedded, in {}", dir.display());
            Ok(Arc::new(store))
        }
        StoreKind::Etcd(etcd) => {
            let options = etcd_options(etcd);
            let endpoints = texts(&options.endpoints);
            let store = wait_for_etcd(options).await?;
            if let Some(certificates) = store.certificates() {
                file_sets.add(certificates);
            }
            log::info!("store: etcd, at {endpoints}");
            Ok(Arc::new(store))
        }
    }
}

/// As [`open`], for a command: it ends if etcd cannot be reached within the limit, because nobody may look at its log.
pub async fn open_within(
    limit: Duration,
    kind: &StoreKind,
    clock: &Clock,
    file_sets: &FileSets,
) -> Result<Arc<dyn Store>, AppError> {
    let opened = tokio::time::timeout(limit, open(kind, clock, file_sets)).await;
    opened.unwrap_or(Err(AppError::StoreAway(limit)))
}

async fn wait_for_etcd(options: EtcdOptions) -> Result<EtcdStore, AppError> {
    let trouble = Trouble::default();
    loop {
        match EtcdStore::connect(options.clone()).await {
            Ok(store) => return Ok(store),
            Err(ConnectError::Unreachable(why)) => {
                if trouble.fails(&why) {
                    log::warn!("waiting for etcd at {}: {why}", texts(&options.endpoints));
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn texts(endpoints: &[EtcdEndpoint]) -> String {
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn etcd_options(config: &EtcdConfig) -> EtcdOptions {
    let EtcdConfig { endpoints, connect_timeout, request_timeout, sync_interval, login, tls } = config;
    EtcdOptions {
        endpoints: endpoints.clone(),
        tls: tls.as_ref().map(tls_options),
        credentials: login.as_ref().map(|(user, password)| Credentials {
            user: user.clone(),
            password: password.reveal().to_owned(),
        }),
        connect_timeout: *connect_timeout,
        request_timeout: *request_timeout,
        longest_call: LONGEST_CALL,
        sync_interval: *sync_interval,
    }
}

fn tls_options(config: &EtcdTls) -> TlsOptions {
    let EtcdTls { ca_file, identity, password_file, server_name, verifies_name } = config;
    TlsOptions {
        ca: Some(ca_file.clone()),
        identity: identity.as_ref().map(|(certificate, key)| ClientIdentity {
            certificate: certificate.clone(),
            key: key.clone(),
            password: password_file.clone(),
        }),
        server_name: server_name.clone(),
        verification: if *verifies_name { Verification::Full } else { Verification::AuthorityOnly },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Nothing listens on port 1.
    #[tokio::test(start_paused = true)]
    async fn a_command_does_not_wait_for_etcd_without_end() {
        let etcd = EtcdConfig {
            endpoints: vec![EtcdEndpoint::parse("http://127.0.0.1:1").unwrap()],
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
            sync_interval: None,
            login: None,
            tls: None,
        };
        let (kind, limit) = (StoreKind::Etcd(etcd), Duration::from_secs(30));
        let opened = open_within(limit, &kind, &Clock::system(), &FileSets::default()).await;
        assert!(matches!(opened, Err(AppError::StoreAway(waited)) if waited == limit));
    }
}
