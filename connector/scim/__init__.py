"""The inbox: a SCIM 2.0 service provider that identity providers push to (RFC 7643, 7644).

Prohibition: what is pushed is kept as one more source; nothing here changes an identity, a Team or a seat.
"""
