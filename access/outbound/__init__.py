"""The one door out (N12): whatever is fetched from an address that somebody else wrote is fetched through here.

It stands in ``access`` because that is the lowest room that both programs and their composition may import: metadata
and domain proofs are fetched by ``connector``, keys that sign bearer tokens will be by ``access`` itself.

Prohibition: knows nothing of what is fetched, and only the operator's file opens anything.
"""
