//! Schemas of single fields: what a value looks like, how many there may be, and whether one may be there twice.
//!
//! A schema may let by what the compiler refuses, never the other way round.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::super::{AudiencesFrom, ClaimMatch, ForwardedHeader, PathMatch, SecretKey, Sender, bounds, defaults};
use super::rules::demand;

/// Longest name of an object, and of a key in its data.
const OBJECT_NAME: usize = 253;
/// Longest label of a DNS name.
const LABEL: usize = 63;
/// Longest name of a header, a query parameter or a method.
const WIRE_NAME: usize = 64;
/// Longest range that can be written.
const CIDR: usize = 49;
/// Longest duration that is read.
const DURATION: usize = 32;
/// What a duration looks like.
const IS_DURATION: &str = r"self.matches('^(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|ms|s|m|h))+)$')";
/// The algorithms that keys may be for.
const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

fn text(longest: usize) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": longest})
}

fn text_that(longest: usize, rule: &str, message: &str) -> Schema {
    let mut schema = text(longest);
    demand(&mut schema, rule, message);
    schema
}

/// At least one item, and at most so many.
fn list(items: &Schema, most: usize) -> Schema {
    json_schema!({"type": "array", "items": items, "minItems": 1, "maxItems": most, "x-kubernetes-list-type": "atomic"})
}

/// A list in which nothing stands twice; who owns which item is kept for each.
fn set(items: &Schema, most: usize) -> Schema {
    let mut schema = list(items, most);
    schema.insert("x-kubernetes-list-type".to_owned(), Value::from("set"));
    schema
}

/// A list of mappings that are told apart by these members.
fn keyed(items: &Schema, keys: &[&str], most: usize) -> Schema {
    let mut schema = list(items, most);
    schema.insert("x-kubernetes-list-type".to_owned(), Value::from("map"));
    schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
    schema
}

fn items<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn host() -> Schema {
    text_that(
        255,
        r"self.matches('^([*]|([*][.])?([A-Za-z0-9_-]{1,63}[.])*[A-Za-z0-9_-]{1,63})$')",
        "is no host name; write it without scheme, port, path and trailing dot, in ASCII (punycode, `xn--...`), or as `*.` and a name",
    )
}

pub(in super::super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    set(&host(), bounds::HOSTS)
}

pub(in super::super) fn granted_hosts(_: &mut SchemaGenerator) -> Schema {
    let mut host = host();
    demand(&mut host, "self != '*'", "`*` would grant every host there is; name the host, or `*.` and a name");
    set(&host, bounds::GRANTED)
}

pub(in super::super) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    set(&text_that(LABEL, r"self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')", "is no namespace"), bounds::GRANTED)
}

pub(in super::super) fn paths(generator: &mut SchemaGenerator) -> Schema {
    list(&items::<PathMatch>(generator), bounds::PATHS)
}

pub(in super::super) fn path(_: &mut SchemaGenerator) -> Schema {
    text_that(bounds::PATH_LENGTH, "self.startsWith('/') && !self.contains('?')", "a path starts with `/` and is matched without its query")
}

pub(in super::super) fn senders(generator: &mut SchemaGenerator) -> Schema {
    keyed(&items::<Sender>(generator), &["name"], bounds::SENDERS)
}

pub(in super::super) fn sender_name(_: &mut SchemaGenerator) -> Schema {
    text_that(
        LABEL,
        r"self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
        "a sender's name is 1 to 63 lower-case letters, digits and `-`, with a letter or digit first and last",
    )
}

pub(in super::super) fn forwarded_headers(generator: &mut SchemaGenerator) -> Schema {
    keyed(&items::<ForwardedHeader>(generator), &["name"], bounds::FORWARDED_HEADERS)
}

pub(in super::super) fn header(_: &mut SchemaGenerator) -> Schema {
    text_that(WIRE_NAME, "self.matches('^[A-Za-z0-9][A-Za-z0-9-]*$')", "a header's name is at most 64 letters, digits and `-`")
}

pub(in super::super) fn parameter(_: &mut SchemaGenerator) -> Schema {
    text_that(WIRE_NAME, "self.matches('^[A-Za-z0-9._-]+$')", "a query parameter's name is at most 64 letters, digits, `-`, `.` and `_`")
}

fn audience() -> Schema {
    text_that(bounds::TEXT_LENGTH, "self.matches('^[!-~]+$')", "an audience is printable ASCII without blanks")
}

pub(in super::super) fn audiences(_: &mut SchemaGenerator) -> Schema {
    set(&audience(), bounds::AUDIENCES)
}

pub(in super::super) fn resource_ids(_: &mut SchemaGenerator) -> Schema {
    let mut id = audience();
    demand(
        &mut id,
        "!self.lowerAscii().matches('^/?subscriptions/') && !self.lowerAscii().contains('/providers/microsoft.communication/')",
        "an ARM id is in no token; name the resource's immutableResourceId, a GUID (`az communication list --query \"[].immutableResourceId\"`)",
    );
    set(&id, bounds::AUDIENCES)
}

pub(in super::super) fn audience_maps(generator: &mut SchemaGenerator) -> Schema {
    list(&items::<AudiencesFrom>(generator), bounds::AUDIENCE_MAPS)
}

pub(in super::super) fn issuer(_: &mut SchemaGenerator) -> Schema {
    text_that(bounds::TEXT_LENGTH, "self.matches('^[!-~]+$')", "an issuer is printable ASCII without blanks, compared byte for byte")
}

pub(in super::super) fn url(_: &mut SchemaGenerator) -> Schema {
    text_that(bounds::URL_LENGTH, "self.startsWith('https://') || self.startsWith('http://')", "must be a URL that starts with `https://`")
}

pub(in super::super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(OBJECT_NAME)
}

pub(in super::super) fn data_key(_: &mut SchemaGenerator) -> Schema {
    text(OBJECT_NAME)
}

fn guid(message: &str) -> Schema {
    text_that(bounds::TEXT_LENGTH, "self.matches('^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$')", message)
}

pub(in super::super) fn tenant(_: &mut SchemaGenerator) -> Schema {
    guid("is no GUID; name your own tenant's (`az account show --query tenantId`)")
}

pub(in super::super) fn application_ids(_: &mut SchemaGenerator) -> Schema {
    set(&guid("is no application id, which is a GUID"), bounds::APPLICATION_IDS)
}

pub(in super::super) fn roles(_: &mut SchemaGenerator) -> Schema {
    set(&text(bounds::TEXT_LENGTH), bounds::ROLES)
}

pub(in super::super) fn subscription_names(_: &mut SchemaGenerator) -> Schema {
    set(&text(bounds::TEXT_LENGTH), bounds::SUBSCRIPTION_NAMES)
}

pub(in super::super) fn algorithms(_: &mut SchemaGenerator) -> Schema {
    let mut schema = set(&json_schema!({"type": "string", "enum": ALGORITHMS}), ALGORITHMS.len());
    schema.insert("default".to_owned(), json!([defaults::ALGORITHM]));
    schema
}

pub(in super::super) fn methods(_: &mut SchemaGenerator) -> Schema {
    set(&text_that(32, "self.matches('^[A-Z-]+$')", "is no method; write it in capitals, such as `POST`"), bounds::METHODS)
}

/// Not keyed by their names: of a claim that is a list, several values may be asked for.
pub(in super::super) fn claims(generator: &mut SchemaGenerator) -> Schema {
    list(&items::<ClaimMatch>(generator), bounds::CLAIMS)
}

pub(in super::super) fn claim_name(_: &mut SchemaGenerator) -> Schema {
    text(bounds::TEXT_LENGTH)
}

/// A text, a number or a truth value: structural schemas know no such union, so the compiler says what is none of them.
pub(in super::super) fn claim_values(_: &mut SchemaGenerator) -> Schema {
    let value = json_schema!({"description": "A text, a number or a truth value.", "maxLength": bounds::CLAIM_VALUE_LENGTH, "x-kubernetes-preserve-unknown-fields": true});
    list(&value, bounds::CLAIM_VALUES)
}

pub(in super::super) fn range_sets(_: &mut SchemaGenerator) -> Schema {
    set(&text(OBJECT_NAME), bounds::SETS)
}

pub(in super::super) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    let mut range = json_schema!({"type": "string", "format": "cidr", "minLength": 1, "maxLength": CIDR});
    demand(&mut range, "isCIDR(self)", "is no range, such as `203.0.113.0/24`; leading zeros are not read, and IPv4 is written as such");
    demand(
        &mut range,
        "!isCIDR(self) || cidr(self) == cidr(self).masked()",
        "has bits beyond its length; write the address that the range begins with",
    );
    set(&range, bounds::CIDRS)
}

pub(in super::super) fn secret_refs(generator: &mut SchemaGenerator) -> Schema {
    keyed(&items::<SecretKey>(generator), &["name", "key"], bounds::API_KEYS)
}

pub(in super::super) fn digests(_: &mut SchemaGenerator) -> Schema {
    let digest =
        text_that(64, "self.matches('^[0-9A-Fa-f]{64}$')", "is no SHA-256 digest: 64 hexadecimal digits, as `ringfence hash-key` prints them");
    set(&digest, bounds::API_KEYS)
}

pub(in super::super) fn endpoint_sets(_: &mut SchemaGenerator) -> Schema {
    set(&json_schema!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX}), bounds::SETS)
}

pub(in super::super) fn tags(_: &mut SchemaGenerator) -> Schema {
    set(&text(bounds::TEXT_LENGTH), bounds::SETS)
}

/// A duration of which this holds, too.
fn duration_that(holds: &str, message: &str) -> Schema {
    let mut schema = text_that(DURATION, IS_DURATION, "is no duration; write a number and a unit, such as `30s`, `5m` or `1h30m`");
    demand(&mut schema, &format!("!{IS_DURATION} || {holds}"), message);
    schema
}

pub(in super::super) fn clock_skew(_: &mut SchemaGenerator) -> Schema {
    let mut schema = duration_that("duration(self) <= duration('5m')", "is too long: at most 5m; better set the clock");
    schema.insert("default".to_owned(), Value::from(defaults::CLOCK_SKEW.to_string()));
    schema
}

pub(in super::super) fn lifetime(_: &mut SchemaGenerator) -> Schema {
    duration_that("duration(self) > duration('0s')", "no token lives for `0s`; leave the field out for the sender's own cap")
}

pub(in super::super) fn max_age(_: &mut SchemaGenerator) -> Schema {
    let mut schema = duration_that("duration(self) > duration('0s')", "no URL is good for `0s`; leave the field out for 24h");
    schema.insert("default".to_owned(), Value::from(defaults::MAX_AGE.to_string()));
    schema
}

pub(in super::super) fn refresh(_: &mut SchemaGenerator) -> Schema {
    duration_that("duration(self) > duration('0s')", "nobody can be asked every `0s`")
}
