//! SASL packets: what Apache's `ZooKeeperServer.processSasl` answers to them.

use super::Core;
use crate::acl::Id;
use crate::jute::Write;
use crate::proto::{Code, RequestHeader};
use crate::watch::ConnectionId;

impl Core {
    /// A client sends a token, and gets one back. Who has proved to be a user gets that identity, and `super` if it is a super user.
    ///
    /// A client that fails is told so and its connection closed, unless `allowSaslFailedClients` lets it stay as nobody. Where SASL is
    /// not configured, the answer is no error but no token either, as Apache's is; nobody is proved to be anybody by that.
    pub(super) fn sasl(&mut self, id: ConnectionId, header: RequestHeader, token: &[u8]) {
        let authentication = &self.options.authentication;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(settings) = &authentication.sasl else {
            tracing::info!(peer = %connection.peer, "a client speaks SASL, which is not configured");
            return self.answer_sasl(id, header, 0, None);
        };
        let mut exchange = connection.sasl.take().unwrap_or_default();
        let stepped = exchange.step(token, &settings.users, || authentication.nonce(id));
        connection.sasl = Some(exchange);
        match stepped {
            Ok(answer) => {
                if let Some(user) = answer.user {
                    connection.add_id(Id::new("sasl", &user));
                    if settings.super_users.contains(&user) {
                        connection.add_id(Id::new("super", ""));
                    }
                    tracing::info!(peer = %connection.peer, user, "a client has proved by SASL who it is");
                }
                self.answer_sasl(id, header, 0, Some(&answer.token));
            }
            Err(error) => {
                tracing::warn!(peer = %connection.peer, %error, "a client has failed to prove by SASL who it is");
                self.counters.auth_failed += 1;
                let required = authentication.requires_sasl();
                if settings.allow_failed && !required {
                    return self.answer_sasl(id, header, 0, None);
                }
                let code = if required { Code::SessionClosedRequireSaslAuth } else { Code::AuthFailed };
                self.answer_sasl(id, header, code as i32, None);
                self.close(id);
            }
        }
    }

    fn answer_sasl(&mut self, id: ConnectionId, header: RequestHeader, err: i32, token: Option<&[u8]>) {
        let mut body = Vec::new();
        body.buffer(token);
        self.reply(id, header.xid, 0, err, &body);
    }
}
