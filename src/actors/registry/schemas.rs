//! Writes and reads of schemas. Texts are stored once by content hash; a service refers to them. A text that loses its last
//! reference is deleted before the write is answered, see [`super::schema_texts`].

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::core::{RegistryCore, committed};
use super::messages::{
    DeleteSchema, PutSchema, ReadSchemas, ReplaceSchemas, SchemaSelection, SchemasWithTexts, TextSpace,
    WriteReply,
};
use super::schema_texts::{self, TEXTS_AT_ONCE};
use super::services::{self, NO_SERVICE};
use crate::domain::json;
use crate::domain::schema::{Schema, content_hash};
use crate::domain::{ServiceId, Tenant, quota};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op, Txn, TxnOutcome, keys};

const NO_REF: &str = "schema ref not found.";
const NO_CONTENT: &str = "schema content not found.";
/// How many operations one transaction has at most. The limit of the store is 128.
const MAX_OPS: usize = 120;
/// How many bytes one transaction has at most, except a single larger text. The limit of the store is 1.5 MiB.
const MAX_BYTES: usize = 1_000_000;

fn put(key: Key, value: impl Into<Bytes>) -> Op {
    Op::Put { key, value: value.into(), lease: None }
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

/// Writes one schema. A new id is added to the service's list.
pub(super) async fn put_one(core: Rc<RegistryCore>, message: PutSchema) -> WriteReply<()> {
    let PutSchema { tenant, service, schema } = message;
    let document_key = keys::service(&tenant, service.as_str());
    let _turn = core.turn(&document_key).await?;
    let view = core.service(&tenant, service.as_str(), NO_SERVICE).await?;
    let (mut document, mut mod_revision) = (view.record.document.clone(), view.record.mod_revision);
    let hash = content_hash(&schema.schema_id, &schema.schema);
    let content = keys::schema_content(&tenant, &hash);
    let reference = keys::schema_ref(&tenant, service.as_str(), &schema.schema_id);
    let known = known_hash(&core, &tenant, &service, &schema.schema_id);
    let mut has_content = known.as_deref() == Some(&*hash);
    let replaced = known.filter(|known| **known != *hash);
    if replaced.is_some() {
        core.texts.check_room()?;
    }
    if !has_content {
        let replaces = |id: &str| *id == *schema.schema_id;
        schema_texts::check_bytes(&core, &tenant, service.as_str(), schema.schema.len(), replaces).await?;
    }
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let is_new = !document.schemas.contains(&schema.schema_id);
        let mut then = vec![
            // Reads the former reference, before the put.
            Op::Get(Key::clone(&reference)),
            put(Key::clone(&reference), text(&hash)),
            put(keys::schema_summary(&tenant, service.as_str(), &schema.schema_id), text(&schema.summary)),
        ];
        let mut compares = Vec::new();
        if is_new {
            quota::check("SCHEMA", core.rules.quotas.schemas, document.schemas.len())?;
            let mut longer = document.clone();
            longer.schemas.push(schema.schema_id.clone());
            then.push(put(Key::clone(&document_key), json::encode(&longer)));
            compares.push(Compare::Unchanged { key: Key::clone(&document_key), mod_revision });
        } else {
            compares.push(Compare::Present(Key::clone(&document_key)));
        }
        if has_content {
            compares.push(Compare::Present(Key::clone(&content)));
        } else {
            compares.push(Compare::Absent(Key::clone(&content)));
            then.push(put(Key::clone(&content), text(&schema.schema)));
        }
        // The content is not read back, because contents are large. The next try assumes the opposite of this one.
        let otherwise = vec![Op::Get(Key::clone(&document_key))];
        // The transaction may be committed despite the error.
        let in_doubt = |_: &Error| core.texts.leave(&tenant, replaced.clone());
        let outcome = core.commit(Txn { compares, then, otherwise }).await.inspect_err(in_doubt)?;
        if outcome.succeeded {
            let mut former = schema_texts::hashes(&outcome);
            former.remove(&*hash);
            schema_texts::let_go(&core, &tenant, former, outcome.revision).await;
            return Ok(committed((), &outcome));
        }
        let entry = outcome.reads.into_iter().flatten().next();
        let entry = entry.ok_or_else(|| Error::new(Code::ServiceNotExists, NO_SERVICE))?;
        if entry.mod_revision == mod_revision || !is_new {
            has_content = !has_content;
        }
        (document, mod_revision) = (services::parse(&entry.value)?, entry.mod_revision);
    }
}

/// The hash of the text that a schema refers to, according to the snapshot.
fn known_hash(core: &RegistryCore, tenant: &Tenant, service: &ServiceId, schema: &str) -> Option<Arc<str>> {
    let snapshot = core.reader.load();
    snapshot.tenant(tenant)?.node(service.as_str())?.schema_refs.get(schema).cloned()
}

/// Replaces all schemas of a service: first the texts, then the references, and last the service's list. So a crash between two
/// transactions leaves no reference without a text. A text of an earlier transaction may be deleted before a reference is
/// written, so the transaction with the reference compares that the text is there.
pub(super) async fn replace_all(core: Rc<RegistryCore>, message: ReplaceSchemas) -> WriteReply<()> {
    let ReplaceSchemas { tenant, service, schemas } = message;
    let document_key = keys::service(&tenant, service.as_str());
    let _turn = core.turn(&document_key).await?;
    core.texts.check_room()?;
    let length = schemas.iter().map(|schema| schema.schema.len()).sum();
    schema_texts::check_bytes(&core, &tenant, service.as_str(), length, |_| true).await?;
    let hashes: Vec<Arc<str>> =
        schemas.iter().map(|schema| content_hash(&schema.schema_id, &schema.schema).into()).collect();
    let new = Replacement { tenant: &tenant, service: &service, schemas: &schemas, hashes: &hashes };
    let mut former = BTreeSet::new();
    let outcome = replace(&core, &document_key, &new, &mut former).await;
    match &outcome {
        Ok(outcome) => {
            former.retain(|hash| !hashes.contains(hash));
            schema_texts::let_go(&core, &tenant, former, outcome.revision).await;
        }
        // Some of the transactions may be committed.
        Err(_) => core.texts.leave(&tenant, former),
    }
    outcome.map(|outcome| committed((), &outcome))
}

/// `former` gets the hashes of texts that may have lost a reference, or may have been put without one.
async fn replace(
    core: &RegistryCore,
    document_key: &Key,
    new: &Replacement<'_>,
    former: &mut BTreeSet<Arc<str>>,
) -> Result<TxnOutcome, Error> {
    let view = core.service(new.tenant, new.service.as_str(), NO_SERVICE).await?;
    let (mut document, mut mod_revision) = (view.record.document.clone(), view.record.mod_revision);
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let (mut earlier, mut last) = new.transactions(&document.schemas);
        document.schemas = new.schemas.iter().map(|schema| schema.schema_id.clone()).collect();
        for txn in &mut earlier {
            txn.compares.push(Compare::Present(Key::clone(document_key)));
        }
        last.compares.push(Compare::Unchanged { key: Key::clone(document_key), mod_revision });
        last.then.push(put(Key::clone(document_key), json::encode(&document)));
        let all = earlier.into_iter().chain([last]);
        former.extend(new.hashes.iter().cloned());
        let outcome = commit_in_order(core, all, document_key, former).await?;
        if outcome.succeeded {
            return Ok(outcome);
        }
        let entry = outcome.reads.into_iter().flatten().next();
        let entry = entry.ok_or_else(|| Error::new(Code::ServiceNotExists, NO_SERVICE))?;
        (document, mod_revision) = (services::parse(&entry.value)?, entry.mod_revision);
    }
}

/// Commits one transaction after another and stops at the first whose compares fail. That transaction then has read the
/// document. `former` gets the hashes that the others have read.
async fn commit_in_order(
    core: &RegistryCore,
    txns: impl Iterator<Item = Txn>,
    document: &Key,
    former: &mut BTreeSet<Arc<str>>,
) -> Result<TxnOutcome, Error> {
    let mut last = Err(Error::new(Code::Internal, "a replacement without a transaction"));
    for txn in txns {
        let outcome = core.commit(Txn { otherwise: vec![Op::Get(Key::clone(document))], ..txn }).await?;
        if !outcome.succeeded {
            return Ok(outcome);
        }
        former.extend(schema_texts::hashes(&outcome));
        last = Ok(outcome);
    }
    last
}

/// The schemas that replace all schemas of a service.
struct Replacement<'a> {
    tenant: &'a Tenant,
    service: &'a ServiceId,
    schemas: &'a [Schema],
    /// The hash of each schema.
    hashes: &'a [Arc<str>],
}

impl Replacement<'_> {
    /// The transactions of the replacement, split where one would be too large: all but the last, and the last. Each one
    /// compares that the contents are there which its references name and an earlier one has put. The first one reads the
    /// former references.
    fn transactions(&self, former: &[String]) -> (Vec<Txn>, Txn) {
        let (tenant, id) = (self.tenant, self.service.as_str());
        let mut chunks = Chunks::default();
        for (schema, hash) in self.schemas.iter().zip(self.hashes) {
            chunks.push(put(keys::schema_content(tenant, hash), text(&schema.schema)), None);
        }
        for (schema, hash) in self.schemas.iter().zip(self.hashes) {
            let reference = put(keys::schema_ref(tenant, id, &schema.schema_id), text(hash));
            chunks.push(reference, Some(keys::schema_content(tenant, hash)));
            let summary = keys::schema_summary(tenant, id, &schema.schema_id);
            chunks.push(put(summary, text(&schema.summary)), None);
        }
        let mut dropped: Vec<&String> =
            former.iter().filter(|id| !self.schemas.iter().any(|s| s.schema_id == **id)).collect();
        dropped.sort();
        dropped.dedup();
        for schema in dropped {
            chunks.push(Op::Delete(keys::schema_ref(tenant, id, schema)), None);
            chunks.push(Op::Delete(keys::schema_summary(tenant, id, schema)), None);
        }
        let first = chunks.full.first_mut().unwrap_or(&mut chunks.open);
        first.then.insert(0, Op::GetPrefix(keys::schema_ref(tenant, id, "")));
        (chunks.full, chunks.open)
    }
}

/// Fills one transaction after another.
#[derive(Default)]
struct Chunks {
    full: Vec<Txn>,
    open: Txn,
    open_bytes: usize,
}

impl Chunks {
    /// Adds an operation. `needs` is a key that must exist when the operation is done.
    fn push(&mut self, op: Op, needs: Option<Key>) {
        let size = if let Op::Put { key, value, .. } = &op { key.len() + value.len() } else { 128 };
        let open = &self.open.then;
        if !open.is_empty() && (open.len() >= MAX_OPS || self.open_bytes + size > MAX_BYTES) {
            self.full.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
        let puts = |op: &Op, needed: &Key| matches!(op, Op::Put { key, .. } if key == needed);
        if let Some(needed) = needs
            && !self.open.then.iter().any(|op| puts(op, &needed))
        {
            self.open.compares.push(Compare::Present(needed));
        }
        self.open_bytes += size;
        self.open.then.push(op);
    }
}

/// Deletes the reference and the summary of a schema, in both layouts, and its text if nothing else refers to it.
pub(super) async fn delete(core: Rc<RegistryCore>, message: DeleteSchema) -> WriteReply<()> {
    let DeleteSchema { tenant, service, schema } = message;
    core.service(&tenant, service.as_str(), NO_SERVICE).await?;
    let document = keys::service(&tenant, service.as_str());
    let reference = keys::schema_ref(&tenant, service.as_str(), &schema);
    let old = keys::old_schema(&tenant, service.as_str(), &schema);
    let deletion = |present: &Key| Txn {
        compares: vec![Compare::Present(Key::clone(&document)), Compare::Present(Key::clone(present))],
        then: vec![
            Op::Get(Key::clone(&reference)),
            Op::Delete(Key::clone(&reference)),
            Op::Delete(keys::schema_summary(&tenant, service.as_str(), &schema)),
            Op::Delete(Key::clone(&old)),
        ],
        otherwise: vec![Op::Get(Key::clone(&document))],
    };
    let known = known_hash(&core, &tenant, &service, &schema);
    // The transaction may be committed despite the error.
    let in_doubt = |_: &Error| core.texts.leave(&tenant, known.clone());
    for present in [&reference, &old] {
        let outcome = core.commit(deletion(present)).await.inspect_err(in_doubt)?;
        if outcome.succeeded {
            schema_texts::let_go(&core, &tenant, schema_texts::hashes(&outcome), outcome.revision).await;
            return Ok(committed((), &outcome));
        }
        if outcome.reads.iter().flatten().next().is_none() {
            return Err(Error::new(Code::ServiceNotExists, NO_SERVICE));
        }
    }
    Err(Error::new(Code::SchemaNotExists, NO_REF))
}

/// Reads schemas with their texts from the store.
pub(super) async fn read(core: Rc<RegistryCore>, message: ReadSchemas) -> Result<SchemasWithTexts, Error> {
    let ReadSchemas { tenant, service, selection, space } = message;
    let mut texts = TextsRead { space, bytes: 0 };
    let schemas = match selection {
        SchemaSelection::One(schema) => vec![read_one(&core, &tenant, &service, schema, &mut texts).await?],
        SchemaSelection::All => read_all(&core, &tenant, &service, &mut texts).await?,
    };
    Ok(SchemasWithTexts { schemas, space: texts.space })
}

/// Accounts for the memory of the texts read so far.
struct TextsRead {
    space: Box<dyn TextSpace>,
    bytes: usize,
}

impl TextsRead {
    /// The text of an entry, whose memory is taken first.
    fn keep(&mut self, entry: Entry) -> Result<String, Error> {
        self.bytes = self.bytes.saturating_add(entry.value.len());
        self.space.grow_to(self.bytes)?;
        Ok(into_text(entry))
    }
}

/// Reads one schema. If it is replaced meanwhile, its text may be gone, so it is read again.
async fn read_one(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &ServiceId,
    id: Arc<str>,
    texts: &mut TextsRead,
) -> Result<Schema, Error> {
    let mut deadline = core.deadline();
    let mut without_text = None;
    loop {
        deadline.check()?;
        let ops = vec![
            Op::Get(keys::service(tenant, service.as_str())),
            Op::Get(keys::schema_ref(tenant, service.as_str(), &id)),
            Op::Get(keys::schema_summary(tenant, service.as_str(), &id)),
            Op::Get(keys::old_schema(tenant, service.as_str(), &id)),
        ];
        let mut reads = core.read(ops).await?.into_iter().map(|mut entries| entries.pop());
        let mut next = || reads.next().flatten();
        if next().is_none() {
            return Err(Error::new(Code::ServiceNotExists, NO_SERVICE));
        }
        let (reference, summary, old) = (next(), next(), next());
        let entry = match (reference, old) {
            (Some(reference), _) => {
                let revision = Some(reference.mod_revision);
                let content = vec![Op::Get(keys::schema_content(tenant, &into_text(reference)))];
                match core.read_texts(content).await?.into_iter().flatten().next() {
                    Some(content) => content,
                    None if without_text == revision => {
                        return Err(Error::new(Code::SchemaNotExists, NO_CONTENT));
                    }
                    None => {
                        without_text = revision;
                        continue;
                    }
                }
            }
            (None, Some(old)) => old,
            (None, None) => return Err(Error::new(Code::SchemaNotExists, NO_REF)),
        };
        let summary = summary.map(into_text).unwrap_or_default();
        return Ok(Schema { schema_id: id.to_string(), summary, schema: texts.keep(entry)? });
    }
}

async fn read_all(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &ServiceId,
    texts: &mut TextsRead,
) -> Result<Vec<Schema>, Error> {
    let prefixes = [keys::schema_ref, keys::schema_summary, keys::old_schema];
    let (ref_prefix, sum_prefix, old_prefix) = (
        keys::schema_ref(tenant, service.as_str(), ""),
        keys::schema_summary(tenant, service.as_str(), ""),
        keys::old_schema(tenant, service.as_str(), ""),
    );
    let ops = prefixes.map(|key| Op::GetPrefix(key(tenant, service.as_str(), "")));
    let mut reads = core.read(ops.into()).await?.into_iter();
    let mut next = || reads.next().unwrap_or_default();
    let (references, summaries, old) = (next(), next(), next());
    let mut schemas = std::collections::BTreeMap::<String, Schema>::new();
    for entry in old {
        let Some(id) = entry.key.strip_prefix(&*old_prefix).map(str::to_owned) else { continue };
        let schema = texts.keep(entry)?;
        schemas.insert(id.clone(), Schema { schema_id: id, schema, ..Schema::default() });
    }
    // Few at a time, because the size of an answer is limited, and the memory of a text is counted only after it was read.
    for references in references.chunks(TEXTS_AT_ONCE) {
        let content =
            |entry: &Entry| Op::Get(keys::schema_content(tenant, &String::from_utf8_lossy(&entry.value)));
        let contents = core.read_texts(references.iter().map(content).collect()).await?;
        for (reference, mut content) in references.iter().zip(contents) {
            let Some(id) = reference.key.strip_prefix(&*ref_prefix) else { continue };
            let schema = match content.pop() {
                Some(content) => texts.keep(content)?,
                None => match read_one(core, tenant, service, id.into(), texts).await {
                    Ok(schema) => schema.schema,
                    Err(error) if error.code == Code::SchemaNotExists => String::new(),
                    Err(error) => return Err(error),
                },
            };
            schemas.insert(id.to_owned(), Schema { schema_id: id.to_owned(), schema, ..Schema::default() });
        }
    }
    for entry in summaries {
        let Some(id) = entry.key.strip_prefix(&*sum_prefix) else { continue };
        if let Some(schema) = schemas.get_mut(id) {
            schema.summary = texts.keep(entry)?;
        }
    }
    Ok(schemas.into_values().collect())
}

/// The text of an entry. Reuses the memory of the entry if nothing else refers to it.
fn into_text(entry: Entry) -> String {
    let value = Vec::from(entry.value);
    String::from_utf8(value).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
