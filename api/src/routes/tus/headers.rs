//! The headers of tus 1.0.0.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use domain::{clock::Timestamp, error::Code, ids::UploadId};
use storage::uploads::UploadDetails;

use super::{VERSION, details, too_large};
use crate::{Error, Result, State, routes::uploads::LONGEST_NAME};

/// The Content-Type of pieces.
pub(super) const OFFSET_TYPE: &str = "application/offset+octet-stream";

/// The request speaks tus 1.0.0.
pub(super) struct Tus;

impl FromRequestParts<State> for Tus {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Error> {
        let version = parts.headers.get("tus-resumable").and_then(|value| value.to_str().ok());
        if version == Some(VERSION) { Ok(Self) } else { Err(Code::UnsupportedProtocol.into()) }
    }
}

/// What `Upload-Concat` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concat {
    Partial,
    Final(Vec<UploadId>),
}

/// A header as text; an error when it is not visible ASCII.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let wrong = |_| Error::new(Code::BadRequest, format!("the header {name} is not visible ASCII"));
    value.to_str().map(Some).map_err(wrong)
}

/// A header as a number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>> {
    let wrong = || Error::new(Code::BadRequest, format!("the header {name} is not a number of bytes"));
    text(headers, name)?.map(|value| value.trim().parse().map_err(|_| wrong())).transpose()
}

/// How long the upload will be; `None` when that is said later.
pub(super) fn length(headers: &HeaderMap, most: u64) -> Result<Option<u64>> {
    match (number(headers, "upload-length")?, text(headers, "upload-defer-length")?) {
        (Some(length), None) if length > most => Err(too_large(most)),
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        _ => Err(Error::new(Code::BadRequest, "send Upload-Length, or Upload-Defer-Length: 1")),
    }
}

pub(super) fn concat(headers: &HeaderMap) -> Result<Option<Concat>> {
    let Some(value) = text(headers, "upload-concat")? else { return Ok(None) };
    if value == "partial" {
        return Ok(Some(Concat::Partial));
    }
    let wrong = || Error::new(Code::BadRequest, "Upload-Concat must be `partial`, or `final;` and the partial uploads");
    let parts = value.strip_prefix("final;").ok_or_else(wrong)?;
    let id = |url: &str| url.trim_end_matches('/').rsplit('/').next().and_then(|id| id.parse().ok()).ok_or_else(wrong);
    Ok(Some(Concat::Final(parts.split_whitespace().map(id).collect::<Result<_>>()?)))
}

/// `final;` and the parts, as it is given back.
pub(super) fn write_concat(parts: &[UploadId]) -> String {
    format!("final;{}", parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// What `Upload-Metadata` says: keys and base64 values, pairs between commas.
pub(super) fn metadata(headers: &HeaderMap) -> Result<UploadDetails> {
    let said = text(headers, "upload-metadata")?.unwrap_or("");
    let (mut name, mut path, mut modified_at) = (None, None, None);
    for pair in said.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let value = BASE64_STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let value =
            value.ok_or_else(|| Error::new(Code::BadRequest, "a value of Upload-Metadata is not UTF-8 in base64"))?;
        match key {
            "filename" | "name" => name = Some(value),
            "path" | "relativePath" => path = Some(value),
            "modified_at" => {
                let time = Timestamp::parse(&value);
                modified_at =
                    Some(time.ok_or_else(|| Error::new(Code::Invalid, "modified_at must be an RFC 3339 time"))?);
            }
            _ => {}
        }
    }
    let path = path.filter(|path| !path.is_empty()).or_else(|| name.clone()).unwrap_or_default();
    if path.contains('\0') || path.chars().count() > LONGEST_NAME {
        return Err(Error::new(
            Code::Invalid,
            format!("a file's name must have 1 to {LONGEST_NAME} characters and no NUL"),
        ));
    }
    let last = path.rsplit(['/', '\\']).next().filter(|last| !last.is_empty()).unwrap_or(&path).to_owned();
    Ok(UploadDetails { modified_at, said: said.to_owned(), ..details(last, path) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn metadata_is_read_as_clients_write_it() {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let said = format!("filename {},filetype dGV4dA==, path {},empty", encoded("ä.eml"), encoded(r"a\b\ä.eml"));
        let found = metadata(&with("upload-metadata", &said)).unwrap();
        assert_eq!((found.name.as_str(), found.path.as_str()), ("ä.eml", r"a\b\ä.eml"));
        let only_name = metadata(&with("upload-metadata", &format!("filename {}", encoded("x/y.pdf")))).unwrap();
        assert_eq!((only_name.name.as_str(), only_name.path.as_str()), ("y.pdf", "x/y.pdf"));
        for wrong in ["filename !!", "modified_at eA==", &format!("path {}", encoded("a\0b"))] {
            assert!(metadata(&with("upload-metadata", wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn concatenations_name_uploads_by_any_url() {
        let (a, b) = (UploadId::new(), UploadId::new());
        let value = format!("final;https://dia.example/api/v1/x/uploads/{a} /api/v1/x/uploads/{b}");
        assert_eq!(concat(&with("upload-concat", &value)).unwrap(), Some(Concat::Final(vec![a, b])));
        assert_eq!(concat(&with("upload-concat", "partial")).unwrap(), Some(Concat::Partial));
        for wrong in ["final", "final;/x/y", "both"] {
            assert!(concat(&with("upload-concat", wrong)).is_err(), "{wrong}");
        }
    }
}
