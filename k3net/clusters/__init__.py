"""The clusters that every instance knows: kept, guarded, and asked whether they answer."""
