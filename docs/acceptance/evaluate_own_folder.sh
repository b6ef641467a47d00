# needs: DATA
echo "# the bundle's own data, given as any folder: the shipped numbers, and a report"
toolkit evaluate mask_detection --data "$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv" --report report
cmp report/metrics.json "$ROOT/zoo/bundles/mask_detection/metrics.json" && echo 'the same as the shipped metrics.json, byte for byte'
ls -l report | awk 'NR > 1 {print $5, $9}'
python -c 'import re; page = open("report/index.html").read(); print(len(re.findall("<img", page)), "pictures in the page,", len(re.findall("<script|<link|https?://", page)), "scripts, links and addresses")'
echo "# a stranger's folder: YOLO's format, another name for a class, no config"
toolkit data convert "$DATA/mask_detection" --from coco --to yolo --out theirs --link data.splits="$DATA/splits/mask_detection.csv" data.check_groups=false > convert.txt; head -1 convert.txt
sed -i s/^with_mask$/masked/ theirs/classes.txt
toolkit evaluate mask_detection --data theirs
toolkit evaluate mask_detection --data theirs --map masked=with_mask --report theirs_report | tail -1
echo "# a folder that says less than is needed"
toolkit evaluate garbage_classification --data "$DATA/garbage_classification_extra"
toolkit evaluate garbage_detection --data "$DATA/garbage_classification"
mkdir two; cp "$DATA"/mask_detection/*.json two; mv two/annotations.json two/all.json; ln -s "$DATA/mask_detection/images" two
toolkit evaluate mask_detection --data two
toolkit evaluate mask_detection --data two data.annotations=all.json data.splits="$DATA/splits/mask_detection.csv" --no-report 2>&1 | head -2
