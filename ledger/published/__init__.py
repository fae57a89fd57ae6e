"""What reports are read from: the list of datasets, and the one door to the Iceberg tables that hold them.

Prohibition: nothing here knows the ledger's tables, and only ``iceberg`` imports pyiceberg.
"""
