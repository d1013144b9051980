"""Write-back: rows of a warehouse planned against an application's records, applied batch by batch, and undone."""
