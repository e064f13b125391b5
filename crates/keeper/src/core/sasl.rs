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
        self.reply_behind_connect(id, header.xid, err, &body);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{CoreOptions, Now, Phase};
    use super::*;
    use crate::authentication::{Authentication, SaslSettings};
    use crate::config::Secret;
    use crate::jute::{Reader, length_as_int};
    use crate::proto::{ConnectRequest, ReplyHeader, op};
    use crate::sasl::SaslClient;
    use crate::tree::Tree;

    /// A server with these settings, and the connection of a client that has a session.
    fn server(authentication: Authentication) -> (Core, ConnectionId) {
        let options = CoreOptions { authentication, ..CoreOptions::default() };
        let mut core = Core::new(Tree::new(true), BTreeMap::new(), options, Now::default());
        let id = core.open([127, 0, 0, 1].into(), 1, false, &[]);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 10_000,
            session_id: 0,
            passwd: &[0; 16],
            read_only: Some(false),
        };
        let mut frame = Vec::new();
        request.write(&mut frame);
        core.packet(id, &frame);
        core.take_proposals();
        core.committed(i64::MAX);
        core.output(id).unwrap().clear();
        (core, id)
    }

    fn sasl(users: &[(&str, &str)]) -> SaslSettings {
        let users = users.iter().map(|(user, password)| ((*user).to_owned(), Secret((*password).to_owned())));
        SaslSettings { users: users.collect(), super_users: vec!["super".to_owned()], allow_failed: false }
    }

    /// Sends a token: the answer's error and token, and whether the connection is still open.
    fn send(core: &mut Core, id: ConnectionId, token: &[u8]) -> (i32, Option<Vec<u8>>, bool) {
        let mut frame = Vec::new();
        frame.int(7);
        frame.int(op::SASL);
        frame.buffer(Some(token));
        core.packet(id, &frame);
        let out = std::mem::take(core.output(id).unwrap());
        let mut reader = Reader::new(&out);
        assert_eq!(reader.int().unwrap(), length_as_int(out.len() - 4));
        let header = ReplyHeader::read(&mut reader).unwrap();
        assert_eq!((header.xid, header.zxid), (7, 0));
        let token = reader.buffer().unwrap().map(<[u8]>::to_vec);
        assert!(reader.is_empty());
        (header.err, token, core.connection(id).unwrap().phase == Phase::Open)
    }

    /// Goes through an exchange: the last answer.
    fn prove(core: &mut Core, id: ConnectionId, user: &str, password: &str) -> (i32, Option<Vec<u8>>, bool) {
        let (err, challenge, open) = send(core, id, b"");
        assert_eq!((err, open), (0, true));
        let mut client = SaslClient::new(user, password);
        let response = client.respond(&challenge.unwrap(), "cnonce").unwrap();
        let answer = send(core, id, &response);
        if let (_, Some(token), _) = &answer {
            client.finish(token).unwrap();
        }
        answer
    }

    fn ids(core: &Core, id: ConnectionId) -> Vec<Id> {
        core.connection(id).unwrap().ids[1..].to_vec()
    }

    #[test]
    fn clients_become_who_they_prove_to_be() {
        let settings = sasl(&[("bob", "pw"), ("super", "s")]);
        let authentication = Authentication { sasl: Some(settings), ..Authentication::default() };
        let (mut core, id) = server(authentication.clone());
        let (err, token, open) = prove(&mut core, id, "bob", "pw");
        assert_eq!((err, token.is_some(), open), (0, true, true));
        assert_eq!(ids(&core, id), [Id::new("sasl", "bob")]);
        // There is no second exchange.
        assert_eq!(send(&mut core, id, b""), (Code::AuthFailed as i32, None, false));

        let (mut core, id) = server(authentication);
        prove(&mut core, id, "super", "s");
        assert_eq!(ids(&core, id), [Id::new("sasl", "super"), Id::new("super", "")]);
    }

    #[test]
    fn clients_that_fail_are_told_and_closed_unless_they_may_stay() {
        let settings = sasl(&[("bob", "pw")]);
        for (allow_failed, required, wanted) in [
            (false, false, (Code::AuthFailed as i32, None, false)),
            (true, false, (0, None, true)),
            (false, true, (Code::SessionClosedRequireSaslAuth as i32, None, false)),
            (true, true, (Code::SessionClosedRequireSaslAuth as i32, None, false)),
        ] {
            let authentication = Authentication {
                sasl: Some(SaslSettings { allow_failed, ..settings.clone() }),
                enforced_schemes: if required { vec!["sasl".to_owned()] } else { vec![] },
                ..Authentication::default()
            };
            let (mut core, id) = server(authentication);
            assert_eq!(prove(&mut core, id, "bob", "wrong"), wanted, "{allow_failed} {required}");
            assert_eq!(ids(&core, id), []);
        }
    }

    #[test]
    fn without_users_there_is_neither_an_error_nor_a_token() {
        // As recorded from ZooKeeper 3.9.4 without a JAAS configuration.
        let (mut core, id) = server(Authentication::default());
        assert_eq!(send(&mut core, id, b""), (0, None, true));
        assert_eq!(ids(&core, id), []);
    }
}
