//! Doors for fuzz targets (`fuzz/`): a text as a folder's only file. No part of what is shipped.

use ringfence_core::api::Object;
use serde_json::Value;

use super::{
    SourceError,
    document::{self, Gathered},
    yaml,
};

/// The documents of a text, or which line cannot be read and why.
///
/// # Errors
/// The line, from 1, and what is wrong with it.
pub fn documents(text: &str) -> Result<Vec<Value>, (usize, String)> {
    let documents = yaml::read(text).map_err(|error| (error.line, error.message))?;
    Ok(documents.into_iter().map(|document| document.value).collect())
}

/// The resources of a text, and what cannot be read of it.
#[must_use]
pub fn objects(text: &str) -> (Vec<Object>, Vec<SourceError>) {
    let mut gathered = Gathered::default();
    for document in yaml::read(text).unwrap_or_default() {
        document::gather(&"fuzz.yaml".into(), document, &mut gathered);
    }
    (gathered.objects, gathered.errors)
}
