# needs: DATA
toolkit data check "$ROOT/configs/recipes/mask_detection.yaml" data.root="$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv"
