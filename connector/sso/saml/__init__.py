"""SAML documents: metadata, responses, signatures, and our own side as a service provider."""
