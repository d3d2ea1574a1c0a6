"""JSON documents as they travel: camelCase models of request bodies and queries, builders of answers."""
