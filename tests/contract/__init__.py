"""The OpenAPI document: sound in itself, and the same as what is deployed."""
