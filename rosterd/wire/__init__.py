"""What stands between the network and the faces: whose address it is, how long anybody may take, how often they ask.

Prohibition: knows no organization's data and no route's rules.
"""
