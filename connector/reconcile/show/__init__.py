"""Plans and outcomes as sentences, text and documents.

Pure: strings and documents out, nothing read.
"""
