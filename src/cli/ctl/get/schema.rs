//! `get schema`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::super::super::progress::Progress;
use super::super::client::{Call, encode};
use super::super::failure::Failure;
use super::super::names;
use super::super::output::{Listing, column, items, shown, text};
use super::super::session::Session;
use super::dump;

/// Print the schemas of services, or save them in files
#[derive(Args)]
pub struct GetSchema {
    /// Only schemas of this application
    #[arg(long, value_name = "APPLICATION")]
    app: Option<String>,
    /// Only schemas of services with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only schemas of services with this version
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Write each schema to DIR/schemas/[DOMAIN/][PROJECT/][ENVIRONMENT/]APPLICATION/NAME.vVERSION/SCHEMA.yaml
    #[arg(short, long, value_name = "DIR")]
    save_dir: Option<PathBuf>,
    /// Schemas of all domains and projects
    #[arg(long)]
    all_domains: bool,
}

impl GetSchema {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let mut services = if self.all_domains {
            dump::read(session).await?.services
        } else {
            let (domain, project) = (session.client.target().domain.clone(), session.place.project.clone());
            let mut services = names::services(session).await?;
            for service in &mut services {
                (service["domain"], service["project"]) = (json!(domain), json!(project));
            }
            services
        };
        let is = |wanted: &Option<String>, service: &Value, pointer: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == text(service, pointer))
        };
        services.retain(|service| {
            is(&self.app, service, "/appId")
                && is(&self.name, service, "/serviceName")
                && is(&self.version, service, "/version")
        });
        let mut progress = self.save_dir.as_ref().map(|_| Progress::new("services"));
        let mut all = Vec::new();
        for (number, service) in services.iter().enumerate() {
            let schemas = schemas(session, service).await?;
            match &self.save_dir {
                Some(root) => save(root, service, &schemas)?,
                None if session.output.is_text() => {
                    for schema in &schemas {
                        let output = session.output;
                        output.text(session.terminal, text(schema, "/schema"));
                    }
                }
                None => all.extend(schemas),
            }
            if let Some(progress) = &mut progress {
                progress.show(session.terminal, number + 1, Some(services.len()));
            }
        }
        if let Some(progress) = progress {
            progress.finish(session.terminal);
            session.note("Finished.");
            return Ok(());
        }
        if session.output.is_text() {
            return Ok(());
        }
        let columns = vec![column("SERVICE", "/serviceId"), column("SCHEMA", "/schemaId")];
        let name = |schema: &Value| format!("{}/{}", text(schema, "/serviceId"), text(schema, "/schemaId"));
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items: all, name })
    }
}

/// The schemas of a service with their texts, each with the member `serviceId`.
async fn schemas(session: &mut Session<'_, '_>, service: &Value) -> Result<Vec<Value>, Failure> {
    let (project, id) = (shown(service, "/project"), shown(service, "/serviceId"));
    let path =
        format!("/v4/{}/registry/microservices/{}/schemas?withSchema=1", encode(&project), encode(&id));
    let answer = session.call(&Call::get(path).in_domain(text(service, "/domain"))).await?;
    let mut schemas = items(&answer, "/schemas").to_vec();
    for schema in &mut schemas {
        schema["serviceId"] = json!(id);
    }
    Ok(schemas)
}

/// Writes the schemas of a service as the original does.
fn save(root: &Path, service: &Value, schemas: &[Value]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    if schemas.is_empty() {
        return Ok(());
    }
    let or_none = |pointer: &str| Some(shown(service, pointer)).filter(|name| name != "default");
    let mut folder = root.join("schemas");
    let parts = [or_none("/domain"), or_none("/project"), Some(shown(service, "/environment"))];
    let name = format!("{}.v{}", text(service, "/serviceName"), text(service, "/version"));
    for part in parts.into_iter().flatten().chain([shown(service, "/appId"), name]) {
        if !part.is_empty() {
            folder.push(one_name(&part));
        }
    }
    DirBuilder::new().recursive(true).mode(0o750).create(&folder).map_err(|error| failed(&folder, error))?;
    for schema in schemas {
        let path = folder.join(format!("{}.yaml", one_name(text(schema, "/schemaId"))));
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(&path);
        let written = file.and_then(|mut file| file.write_all(text(schema, "/schema").as_bytes()));
        written.map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// A text of the registry as one part of a path: it leaves no folder and hides no file.
fn one_name(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '_' } else { c }).collect();
    if plain.starts_with('.') { format!("_{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_no_folder() {
        for (text, expected) in [
            ("orders", "orders"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("..", "_.."),
            ("a/b\n", "a_b_"),
        ] {
            assert_eq!(one_name(text), expected);
        }
    }
}
