"""What may take something away, judged in one place: what a membership rests on, and whether it stands (E3, E4).

Pure: no I/O, no clock here. Whatever is not proved to be broken is a doubt, and a doubt keeps.
"""
