//! Links into the console.

use serde_json::json;

use super::{Schema, object, reference};
use crate::app::portal::WEBHOOKS_OF_A_LINK;

pub(super) fn schemas() -> Vec<Schema> {
    let ids = |items| json!({"type": "array", "minItems": 1, "maxItems": WEBHOOKS_OF_A_LINK, "uniqueItems": true, "items": items});
    vec![
        (
            "PortalLinkInput",
            object(
                json!({
                    "webhookIds": ids(json!({"type": "string", "description": "Of a webhook of the tenant: its UUID, or its number as Truvera's face prints it"})),
                    "expiresIn": {"$ref": "#/components/schemas/Span", "default": "15m", "description": "How long it waits to be opened, from 1m to 24h"},
                }),
                &["webhookIds"],
            ),
        ),
        (
            "PortalLink",
            object(
                json!({
                    "url": {"type": "string", "format": "uri", "description": "Opens once; shown only now"},
                    "webhookIds": ids(reference("Uuid")),
                    "expiresAt": reference("Time"),
                }),
                &["url", "webhookIds", "expiresAt"],
            ),
        ),
    ]
}
