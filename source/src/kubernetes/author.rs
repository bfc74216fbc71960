//! The few things that we write to the API.

use http::{Method, Request, header};
use serde_json::{Value, json};
use thiserror::Error;

use super::{ApiConfig, ConnectError, connect::Connection};

/// Writes to one API server.
pub struct Author {
    connection: Connection,
}

/// A write was refused or did not arrive.
#[derive(Debug, Error)]
#[error("{endpoint} did not take {method} {path}: {cause}")]
pub struct WriteError {
    /// The API server.
    endpoint: String,
    /// The request's method.
    method: Method,
    /// What was to be changed.
    path: String,
    /// What the server or the client said.
    cause: Box<kube::Error>,
}

impl WriteError {
    /// The status of the server's answer, if it gave one.
    pub fn code(&self) -> Option<u16> {
        match self.cause.as_ref() {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

impl Author {
    /// Reaches the API as [`super::ApiConfig`] says. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn new(config: &ApiConfig) -> Result<Self, ConnectError> {
        Connection::new(config).map(|connection| Author { connection })
    }

    /// Takes every taint with this key from a Node (`spec.taints`); tells whether there was one. Asks
    /// for `get` and `patch` of nodes.
    ///
    /// # Errors
    /// [`WriteError`]; code 409 or 422 if somebody else changed the taints meanwhile.
    pub async fn remove_taint(&self, node: &str, key: &str) -> Result<bool, WriteError> {
        let path = format!("/api/v1/nodes/{node}");
        let found = self.send(Method::GET, &path, "application/json", None).await?;
        let taints = &found["spec"]["taints"];
        let all = taints.as_array().map(Vec::as_slice).unwrap_or_default();
        let rest: Vec<&Value> = all.iter().filter(|taint| taint["key"] != key).collect();
        if rest.len() == all.len() {
            return Ok(false);
        }
        // Only if they are still what they were (RFC 6902 §4.6).
        let patch = json!([
            { "op": "test", "path": "/spec/taints", "value": taints },
            { "op": "replace", "path": "/spec/taints", "value": rest },
        ]);
        self.send(Method::PATCH, &path, "application/json-patch+json", Some(&patch)).await?;
        Ok(true)
    }

    /// Makes an object; `false` if it is there already.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn create(&self, collection: &str, object: &Value) -> Result<bool, WriteError> {
        match self.send(Method::POST, collection, "application/json", Some(object)).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn merge(&self, object: &str, patch: &Value) -> Result<(), WriteError> {
        let kind = "application/merge-patch+json";
        self.send(Method::PATCH, object, kind, Some(patch)).await.map(drop)
    }

    /// Takes an object away, at once.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn delete(&self, object: &str) -> Result<(), WriteError> {
        let options = json!({ "gracePeriodSeconds": 0 });
        self.send(Method::DELETE, object, "application/json", Some(&options)).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, WriteError> {
        let failed = |cause: kube::Error| WriteError {
            endpoint: self.connection.endpoint.clone(),
            method: method.clone(),
            path: path.to_owned(),
            cause: Box::new(cause),
        };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(token) =
            self.connection.token.as_ref().and_then(super::connect::TokenFile::header)
        {
            request = request.header(header::AUTHORIZATION, token);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| failed(kube::Error::HttpError(error)))?;
        self.connection.client.request(request).await.map_err(failed)
    }
}
