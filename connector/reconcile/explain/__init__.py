"""Why one person has, waits for, or lost each thing, beside what the directories say now (P6).

Prohibition: writes nothing.
"""
