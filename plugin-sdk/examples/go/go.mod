module mask

go 1.24
