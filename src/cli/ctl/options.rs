//! The options that all commands share, and what they mean together with the environment and the contexts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::client::{Address, Target};
use super::contexts::{ConfigFolder, Context, Contexts};
use super::failure::Failure;
use super::output::Format;
use crate::config::parse_duration;
use crate::tls::any_name::AnyName;
use crate::tls::{TlsError, pem};

/// The address without any setting, but for `HOSTING_SERVER_IP`.
const DEFAULT_HOST: &str = "127.0.0.1";
/// Where systems keep the certificates of public CAs.
const PUBLIC_CAS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).and_then(|limit| {
        if limit.is_zero() { Err("a time limit of 0 leaves no time".to_owned()) } else { Ok(limit) }
    })
}

// It has no `Debug`, because it may hold a token. A doc comment here would be the help text of the program.
#[derive(Args)]
pub struct GlobalOptions {
    /// Address of a node. Several addresses are separated by commas; the first that accepts a connection is used.
    /// Default: the address of the context in use, else http://$HOSTING_SERVER_IP:30100, else http://127.0.0.1:30100
    #[arg(long, global = true, value_name = "URL")]
    pub addr: Option<String>,
    /// Name of a context. Default: $SCCTL_CONTEXT, else the one that `context use` has chosen
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Domain of the tenant. Default: that of the context, else `default`
    #[arg(short, long, global = true, value_name = "NAME")]
    pub domain: Option<String>,
    /// Project of the tenant. Default: that of the context, else `default`
    #[arg(long, global = true, value_name = "NAME")]
    pub project: Option<String>,
    /// Token of an account. Other users of the machine can read it in the list of processes; better are `login`,
    /// --token-file and $SCCTL_TOKEN
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// File with the token of an account
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// Output: a table, a table with more columns, JSON, YAML, or names that other commands take
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value = "table")]
    pub output: Format,
    /// Print tables without the line of headings
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Check the certificate of the node. This is the default; the original needs the option
    #[arg(short, long, global = true, conflicts_with = "insecure")]
    pub peer: bool,
    /// Do not check the certificate of the node. Whoever is between can then read the token
    #[arg(long, global = true)]
    pub insecure: bool,
    /// File with the certificates of the CAs that are trusted. Default: $SSL_ROOT/trust.cer, else those of the system
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with a certificate of the client. Default: $SSL_ROOT/server.cer
    #[arg(long, global = true, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// File with the private key of the client. Default: $SSL_ROOT/server_key.pem
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Password of the private key. Other users of the machine can read it in the list of processes
    #[arg(long, global = true, value_name = "PASSWORD", conflicts_with = "pass_file")]
    pub pass: Option<String>,
    /// File with the password of the private key. Default: $SSL_ROOT/cert_pwd
    #[arg(long, global = true, value_name = "FILE")]
    pub pass_file: Option<PathBuf>,
    /// Time limit of a request, and of connecting to each address
    #[arg(short, long, global = true, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Print each request and its duration to standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// Where a command acts.
pub struct Place {
    pub folder: Option<ConfigFolder>,
    pub contexts: Contexts,
    /// The context in use; `None` if `--addr` or nothing names the address.
    pub context: Option<String>,
    /// As the user or the context has written it.
    pub addr: String,
    pub project: String,
    /// The context whose name a change needs.
    pub protected: Option<String>,
}

impl GlobalOptions {
    /// Reads contexts and tokens, and decides which address, tenant and token count.
    pub fn place(&self, environment: &BTreeMap<String, String>) -> Result<(Place, Target), Failure> {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let folder = ConfigFolder::of(environment);
        let contexts = folder.as_ref().map(ConfigFolder::contexts).transpose()?.unwrap_or_default();
        let named = self.context.clone().or_else(|| variable("SCCTL_CONTEXT"));
        if let Some(name) = named.as_ref().filter(|name| !contexts.contexts.contains_key(*name)) {
            return Err(Failure::usage(format!(
                "there is no context '{name}'; `context list` lists them, `context set` makes one"
            )));
        }
        // With an address and no name, the context in use may be another cluster: neither its token nor its CA belongs there.
        let current = if self.addr.is_none() { contexts.current.clone() } else { None };
        let name = named.or(current).filter(|name| contexts.contexts.contains_key(name));
        let context = name.as_ref().and_then(|name| contexts.contexts.get(name)).cloned().unwrap_or_default();
        let given = self.addr.clone().or_else(|| Some(context.addr.clone()).filter(|addr| !addr.is_empty()));
        let addr = given.unwrap_or_else(|| {
            let host = variable("HOSTING_SERVER_IP").unwrap_or_else(|| DEFAULT_HOST.to_owned());
            format!("http://{host}:30100")
        });
        let addresses = addr.split(',').map(str::trim).filter(|addr| !addr.is_empty());
        let addresses: Vec<Address> =
            addresses.map(Address::parse).collect::<Result<_, _>>().map_err(Failure::usage)?;
        if addresses.is_empty() {
            return Err(Failure::usage("--addr names no address"));
        }
        let token = self.token(&variable, folder.as_ref(), name.as_deref(), &addr)?;
        let or_default = |option: &Option<String>, of_context: &Option<String>| {
            option.clone().or_else(|| of_context.clone()).unwrap_or_else(|| "default".to_owned())
        };
        let is_needed = addresses.iter().any(|address| address.is_https);
        let target = Target {
            tls: Arc::new(self.tls(&context, variable("SSL_ROOT").map(PathBuf::from), is_needed)?),
            token,
            domain: or_default(&self.domain, &context.domain),
            timeout: self.timeout,
            addresses,
        };
        // An address that a protected context names is protected without the name, too.
        let protects = |(_, context): &(&String, &Context)| {
            let parsed = context.addr.split(',').filter_map(|addr| Address::parse(addr.trim()).ok());
            context.protected && parsed.into_iter().any(|address| target.addresses.contains(&address))
        };
        // A protected context that is in use is protected at any address.
        let in_use = name.clone().filter(|_| context.protected);
        let protected =
            in_use.or_else(|| contexts.contexts.iter().find(protects).map(|(name, _)| name.clone()));
        let project = or_default(&self.project, &context.project);
        Ok((Place { folder, context: name, addr, project, protected, contexts }, target))
    }

    /// The token of an option, of the environment, or the one that `login` has kept for this context and address.
    fn token(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        folder: Option<&ConfigFolder>,
        context: Option<&str>,
        addr: &str,
    ) -> Result<Option<String>, Failure> {
        if let Some(token) = self.token.clone().filter(|token| !token.is_empty()) {
            return Ok(Some(token));
        }
        if let Some(path) = &self.token_file {
            let text = pem::read(path).map_err(|error| Failure::usage(error.to_string()))?;
            return Ok(Some(String::from_utf8_lossy(&text).trim().to_owned()));
        }
        if let Some(token) = variable("SCCTL_TOKEN") {
            return Ok(Some(token));
        }
        let (Some(folder), Some(context)) = (folder, context) else { return Ok(None) };
        let saved = folder.tokens()?.remove(context).filter(|saved| saved.addr == addr);
        Ok(saved.map(|saved| saved.token))
    }

    fn tls(
        &self,
        context: &Context,
        root: Option<PathBuf>,
        is_needed: bool,
    ) -> Result<ClientConfig, Failure> {
        let failed = |error: TlsError| Failure::usage(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(TlsError::Library(error)))?;
        if !is_needed {
            return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        }
        let in_root = |name: &str| root.as_ref().map(|root| root.join(name)).filter(|path| path.exists());
        let file = |option: &Option<PathBuf>, of_context: &Option<PathBuf>, name: &str| {
            option.clone().or_else(|| of_context.clone()).or_else(|| in_root(name))
        };
        let builder = if self.insecure || (context.insecure && !self.peer) {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName {
                authority: None,
                provider: Arc::clone(&provider),
            }))
        } else {
            let public = || PUBLIC_CAS.iter().map(PathBuf::from).find(|path| path.exists());
            let path = file(&self.ca, &context.ca, "trust.cer").or_else(public).ok_or_else(|| {
                Failure::usage("the certificate of the node cannot be checked: --ca FILE names the certificates of the CA")
            })?;
            let roots = roots(&path).map_err(failed)?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| failed(TlsError::Verifier { path, error }))?;
            builder.with_webpki_verifier(verifier)
        };
        let (cert, key) =
            (file(&self.cert, &context.cert, "server.cer"), file(&self.key, &context.key, "server_key.pem"));
        let (certificate, key) = match (cert, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(builder.with_no_client_auth()),
            _ => return Err(Failure::usage("--cert and --key belong together: give both or none")),
        };
        let password = match &self.pass {
            Some(password) => pem::Password::Given(password),
            None => pem::Password::In(
                file(&self.pass_file, &context.pass_file, "cert_pwd")
                    .unwrap_or_else(|| key.with_file_name("cert_pwd")),
            ),
        };
        let chain = pem::certificates(&certificate).map_err(|error| failed(error.into()))?;
        let private_key = pem::open_key(&key, &password).map_err(|error| failed(error.into()))?;
        builder
            .with_client_auth_cert(chain, private_key)
            .map_err(|error| failed(TlsError::Pair { certificate, key, error }))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // A bundle of a system may hold certificates that the library rejects, so one that is accepted is enough.
    let mut failure = None;
    for certificate in pem::certificates(path)? {
        failure = roots.add(certificate).err().or(failure);
    }
    match failure.filter(|_| roots.is_empty()) {
        Some(error) => Err(TlsError::Authority { path: path.to_owned(), error }),
        None => Ok(roots),
    }
}
