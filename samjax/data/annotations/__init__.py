"""Photos with the objects that protocols ask for, in the formats that data sets come in."""
